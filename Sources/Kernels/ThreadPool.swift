package import Glibc
import Synchronization

/// A fixed team of threads that share the items of one loop at a time. The caller is one of the team, so a
/// pool of one thread starts none. Idle threads spin briefly, then sleep.
package final class ThreadPool: @unchecked Sendable {
    package let threads: Int
    private let team: Team
    private var handles: [pthread_t] = []

    /// `threads` is at least 1; fewer are used when the system refuses to start as many.
    package init(threads: Int) {
        team = Team()
        var started: [pthread_t] = []
        for index in 1..<max(threads, 1) {
            guard let handle = startThread({ [team] in team.work(thread: index) }) else { break }
            started.append(handle)
        }
        handles = started
        self.threads = started.count + 1
        team.workers = started.count
    }

    deinit {
        team.stop()
        for handle in handles { pthread_join(handle, nil) }
    }

    /// Calls `body(thread, item)` once for each item in 0 ..< count, on any thread of the team, and returns when all
    /// are done. Items must not depend on each other. Not re-entrant; one caller at a time.
    package func run(_ count: Int, _ body: (_ thread: Int, _ item: Int) -> Void) {
        if threads == 1 || count <= 1 {
            for item in 0..<count { body(0, item) }
        } else {
            withoutActuallyEscaping(body) { team.run(count, $0) }
        }
    }
}

/// What the threads share; apart from the pool, so that a running thread does not keep the pool alive.
private final class Team: @unchecked Sendable {
    var workers = 0
    private var job: ((Int, Int) -> Void)?
    private var count = 0
    private let generation = Atomic<UInt64>(0)
    private let next = Atomic<Int>(0)
    private let active = Atomic<Int>(0)
    private let stopping = Atomic<Bool>(false)
    private let lock = Lock()

    private static let spins = 2000

    func run(_ count: Int, _ body: @escaping (Int, Int) -> Void) {
        job = body
        self.count = count
        next.store(0, ordering: .relaxed)
        active.store(workers, ordering: .relaxed)
        lock.withLock {
            generation.add(1, ordering: .releasing)
            lock.wake()
        }
        takeItems(thread: 0, body)
        var spins = 0
        while active.load(ordering: .acquiring) > 0 {
            spins += 1
            if spins > Self.spins { sched_yield() }
        }
        job = nil
    }

    private func takeItems(thread: Int, _ body: (Int, Int) -> Void) {
        while true {
            let item = next.add(1, ordering: .relaxed).oldValue
            guard item < count else { return }
            body(thread, item)
        }
    }

    func work(thread: Int) {
        var seen: UInt64 = 0
        while true {
            guard let current = waitForWork(after: seen) else { return }
            seen = current
            if let job { takeItems(thread: thread, job) }
            active.subtract(1, ordering: .acquiringAndReleasing)
        }
    }

    /// The next generation; nil when the team is to end.
    private func waitForWork(after seen: UInt64) -> UInt64? {
        for _ in 0..<Self.spins {
            let current = generation.load(ordering: .acquiring)
            if current != seen { return current }
        }
        return lock.withLock {
            while generation.load(ordering: .acquiring) == seen {
                if stopping.load(ordering: .relaxed) { return nil }
                lock.wait()
            }
            return generation.load(ordering: .acquiring)
        }
    }

    func stop() {
        lock.withLock {
            stopping.store(true, ordering: .relaxed)
            lock.wake()
        }
    }
}

/// Starts a thread with all signals blocked (they belong to the host); nil when the system refuses.
package func startThread(_ body: @escaping @Sendable () -> Void) -> pthread_t? {
    final class Box {
        let body: @Sendable () -> Void; init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
    var all = sigset_t()
    var previous = sigset_t()
    sigfillset(&all)
    pthread_sigmask(SIG_SETMASK, &all, &previous)
    defer { pthread_sigmask(SIG_SETMASK, &previous, nil) }
    let box = Unmanaged.passRetained(Box(body))
    var handle = pthread_t()
    let status = pthread_create(
        &handle, nil,
        { argument in
            guard let argument else { return nil }
            // A new thread inherits the floating-point state of the one that starts it.
            withDefaultFloatingPoint(Unmanaged<Box>.fromOpaque(argument).takeRetainedValue().body)
            return nil
        }, box.toOpaque())
    guard status == 0 else {
        box.release()
        return nil
    }
    return handle
}

/// How many processors this process may use: its affinity, limited by the quota of its control group.
package func availableProcessors() -> Int {
    var count = allowedProcessors() ?? Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))
    if let quota = controlGroupQuota() { count = min(count, quota) }
    return min(max(count, 1), 512)
}

/// The size of the affinity mask, which `sched_getaffinity` would give if Swift could name it.
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
