import ArgumentParser
import Formats
import Simulation

/// Whether the default policy keeps its promises.
struct BenchGatesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "gates", abstract: "Check what the default policy promises, on virtual time and as measured.",
        discussion: """
            On virtual time the gates are: \((GoodputGates.all + LoadGates.all).map(\.name).joined(separator: ", ")). \
            With --measured FILE, what ftk bench policies --json printed for this machine is judged too: goodput is at \
            least 0.98 of the better one of no speculation and the best fixed length, and not below a published policy, \
            both but for the noise, which the arm "again" and the spread of the rounds show. The exit status is 1 where \
            a gate does not hold.
            """)

    @Option(help: "Only these groups, after commas; none: no gates on virtual time.") var only: String?
    @Option(help: ArgumentHelp("JSON of ftk bench policies.", valueName: "file")) var measured: String?
    @OptionGroup var output: JSONFlag

    func run() throws {
        var reports: [GateReport] = []
        for group in try groups() {
            if Interrupt.isRequested { throw Failure(.cancelled, "interrupted") }
            let report = GateReport(group: group, gates: try group.measure())
            reports.append(report)
            if !output.json { report.show() }
        }
        if output.json { Output.line(JSONText.array(reports.map(\.json)).rendered) }
        let broken = reports.reduce(0) { $0 + $1.broken.count }
        let holds = reports.allSatisfy(\.passed)
        if !output.json { Output.line(holds ? "all gates hold" : "\(broken) gates do not hold") }
        if !holds { throw ExitCode.failure }
    }

    private func groups() throws -> [GateGroup] {
        let known = GoodputGates.all + LoadGates.all
        let names = only?.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
        for name in names ?? [] where name != "none" && !known.contains(where: { $0.name == name }) {
            throw Failure.invalid(
                "--only: no gates are called \"\(name)\"; known are \(known.map(\.name).joined(separator: ", "))")
        }
        let chosen = known.filter { names?.contains($0.name) ?? true }
        let all = chosen + (try measured.map { try MeasuredGates(path: $0).groups } ?? [])
        guard !all.isEmpty else {
            throw Failure.invalid("there is no gate to check: no group is chosen, or nothing measured has a rival")
        }
        return all
    }
}

/// The gates of a group as they turned out.
private struct GateReport {
    let group: GateGroup
    let gates: [Gate]

    var broken: [Gate] { gates.filter { !$0.holds } }
    /// Nothing that was checked is no promise that was kept.
    var passed: Bool { broken.isEmpty && !gates.isEmpty }

    /// Least margin first; what is no number is worst.
    private var tightest: Gate? {
        gates.min { ($0.margin.isNaN ? -.infinity : $0.margin) < ($1.margin.isNaN ? -.infinity : $1.margin) }
    }

    /// A line for the group, and one for each gate that does not hold.
    func show() {
        Output.line(
            "\(passed ? "pass" : "FAIL")  \(group.name): \(gates.count - broken.count) of \(gates.count) "
                + "(\(group.meaning))")
        if passed, let tightest { Output.line("      tightest: \(described(tightest))") }
        for gate in broken { Output.line("      \(described(gate))") }
    }

    private func described(_ gate: Gate) -> String {
        "\(fixed(gate.value, 4)) \(gate.relation) \(fixed(gate.bound, 4)), margin \(fixed(gate.margin, 4)), \(gate.scene)"
    }

    var json: JSONText {
        .object([
            ("name", .string(group.name)), ("meaning", .string(group.meaning)), ("passed", .bool(passed)),
            (
                "gates",
                .array(
                    gates.map {
                        .object([
                            ("scene", .string($0.scene)), ("value", .number($0.value)), ("bound", .number($0.bound)),
                            ("relation", .string($0.relation)), ("margin", .number($0.margin)),
                            ("passed", .bool($0.holds)),
                        ])
                    })
            ),
        ])
    }
}

/// Gates on what was measured on this machine.
private struct MeasuredGates {
    private let cells: [PolicyCell]

    init(path: String) throws {
        let bytes = try FileSource.contents(of: path, limit: 16 << 20)
        let whole: JSON
        do { whole = try JSON(parsing: bytes) } catch let failure as Failure { throw failure.prefixed(path) }
        let found = whole["cells"]?.array ?? []
        cells = found.compactMap { PolicyCell($0) }
        guard !cells.isEmpty, cells.count == found.count else {
            throw Failure.corrupt("\(path) is not what ftk bench policies --json prints")
        }
        guard cells.contains(where: { $0.policy == "goodput" }) else {
            throw Failure.invalid("\(path) has no arm goodput; name it in --policies of ftk bench policies")
        }
    }

    private static let published = ["smartspec", "turbospec", "adaspec"]

    /// Without those that have no rival at any load: they would hold or fail for nothing.
    var groups: [GateGroup] {
        let simple = Self.gates(cells, least: 0.98) { $0 == "unconfigured" || $0.hasPrefix("static:") }
        let published = Self.gates(cells, least: 1) { Self.published.contains($0) }
        var groups: [GateGroup] = []
        if !simple.isEmpty {
            let meaning = "tokens/s against the better one of no speculation and the best fixed length"
            groups.append(GateGroup(name: "measured", meaning: meaning) { simple })
        }
        if !published.isEmpty {
            let meaning = "tokens/s against the best published policy"
            groups.append(GateGroup(name: "measured, published", meaning: meaning) { published })
        }
        return groups
    }

    /// One for each load that has such an arm.
    private static func gates(_ cells: [PolicyCell], least: Double, _ isRival: (String) -> Bool) -> [Gate] {
        var loads: [Int] = []
        for cell in cells where !loads.contains(cell.concurrency) { loads.append(cell.concurrency) }
        return loads.compactMap { load in
            let here = cells.filter { $0.concurrency == load }
            guard let own = here.first(where: { $0.policy == "goodput" }),
                let best = here.filter({ isRival($0.policy) }).max(by: { $0.tokensPerSecond < $1.tokensPerSecond })
            else { return nil }
            let again = here.first { $0.policy == "again" }.map { abs($0.ratio - 1) } ?? 0
            let noise = max(again, (own.spread + best.spread) / 2)
            return .atLeast(
                least - noise, own.tokensPerSecond / best.tokensPerSecond,
                "\(load) at a time, against \(best.policy), noise \(fixed(noise * 100, 1))%")
        }
    }
}
