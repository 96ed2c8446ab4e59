import Glibc

/// How many processors this process may use: its affinity, limited by the quota of its control group.
package func availableProcessors() -> Int {
    let online = Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))
    var count = allowedProcessors().map { online > 0 ? min($0, online) : $0 } ?? online
    if let quota = controlGroupQuota() { count = min(count, quota) }
    return min(max(count, 1), 512)
}

/// The size of the affinity mask, which `sched_getaffinity` would give if Swift could name it. Processors that the machine
/// could be given but lacks may be among them.
private func allowedProcessors() -> Int? {
    let prefix = "Cpus_allowed:"
    guard let line = textFile("/proc/self/status").split(separator: "\n").first(where: { $0.hasPrefix(prefix) }) else {
        return nil
    }
    let bits = line.dropFirst(prefix.count).reduce(0) { $0 + ($1.hexDigitValue?.nonzeroBitCount ?? 0) }
    return bits > 0 ? bits : nil
}

/// The smallest CPU quota of this process's control group and those above it, rounded up; nil without one.
private func controlGroupQuota() -> Int? {
    var quotas: [Int] = []
    for line in textFile("/proc/self/cgroup").split(separator: "\n") {
        let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count == 3 else { continue }
        // "0::/path" is the unified hierarchy; the older one names its controllers.
        let isUnified = parts[0] == "0" && parts[1].isEmpty
        guard isUnified || parts[1].split(separator: ",").contains("cpu") else { continue }
        var path = parts[2].split(separator: "/")
        while true {
            let group = path.map { "/" + $0 }.joined()
            if let quota = isUnified ? unifiedQuota(group) : olderQuota(group) { quotas.append(quota) }
            guard path.popLast() != nil else { break }
        }
    }
    return quotas.min()
}

private func unifiedQuota(_ group: String) -> Int? {
    let parts = textFile("/sys/fs/cgroup\(group)/cpu.max").split(whereSeparator: \.isWhitespace)
    return parts.count == 2 ? wholeProcessors(Double(parts[0]), Double(parts[1])) : nil
}

private func olderQuota(_ group: String) -> Int? {
    func number(_ name: String) -> Double? {
        Double(textFile("/sys/fs/cgroup/cpu\(group)/\(name)").filter { !$0.isWhitespace })
    }
    return wholeProcessors(number("cpu.cfs_quota_us"), number("cpu.cfs_period_us"))
}

private func wholeProcessors(_ quota: Double?, _ period: Double?) -> Int? {
    guard let quota, let period, quota > 0, period > 0 else { return nil }
    return Int(exactly: (quota / period).rounded(.up))
}

/// Up to 8 KiB of a text file such as those of /proc; empty where it cannot be read.
package func textFile(_ path: String) -> String {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return "" }
    defer { close(descriptor) }
    var buffer = [UInt8](repeating: 0, count: 8192)
    let count = read(descriptor, &buffer, buffer.count)
    return count > 0 ? String(decoding: buffer[..<count], as: UTF8.self) : ""
}

/// What the processor calls itself.
package func machineName() -> String {
    let line = textFile("/proc/cpuinfo").split(separator: "\n").first { $0.hasPrefix("model name") }
    return line?.split(separator: ":").last.map { String($0.drop { $0 == " " }) } ?? "unknown"
}
