package import Formats
package import Scheduling

/// What passes of an engine's models take on one machine, as it was measured.
package struct CostProfile: Sendable, Equatable {
    /// What the processor calls itself.
    package var machine: String
    package var isa: String
    package var threads: Int
    package var costs: StepCosts

    package init(machine: String, isa: String, threads: Int, costs: StepCosts) {
        self.machine = machine
        self.isa = isa
        self.threads = threads
        self.costs = costs
    }

    // MARK: JSON

    /// `key`: what the profile belongs to, where it is kept.
    package func json(key: String? = nil) -> JSONText {
        .object(
            (key.map { [("key", .string($0))] } ?? []) + [
                ("machine", .string(machine)), ("isa", .string(isa)), ("threads", .int(threads)),
                ("target", Self.json(costs.target)), ("draft", costs.draft.map { Self.json($0) } ?? .null),
                ("overhead_us", .number(costs.overhead)),
            ])
    }

    private static func json(_ costs: PassCosts) -> JSONText {
        .object([
            ("widths", .array(costs.widths.map { .int($0) })), ("base_us", .array(costs.base.map { .number($0) })),
            ("per_context_us", .number(costs.perContext)), ("per_attended_us", .number(costs.perAttended)),
            // The first so many widths; the others are guessed.
            ("measured_widths", .int(costs.measured.isEmpty ? costs.widths.count : costs.measured.count { $0 })),
        ])
    }

    /// Reads what `json` wrote; members that it does not know do not matter. What is missing or impossible is named.
    package init(parsing bytes: [UInt8]) throws {
        try self.init(JSON(parsing: bytes))
    }

    package init(_ json: JSON) throws {
        guard let machine = json["machine"]?.string, let isa = json["isa"]?.string, let threads = json["threads"]?.int,
            threads > 0
        else { throw Failure.corrupt("a cost profile names its machine, isa and threads") }
        guard let target = json["target"], let draft = json["draft"] else {
            throw Failure.corrupt("a cost profile has a target and a draft, which may be null")
        }
        let overhead = try Self.time(json["overhead_us"], "overhead_us")
        self.init(
            machine: machine, isa: isa, threads: threads,
            costs: StepCosts(
                target: try Self.table(target, "target"),
                draft: draft.isNull ? nil : try Self.table(draft, "draft"), overhead: overhead))
    }

    private static func table(_ json: JSON, _ name: String) throws -> PassCosts {
        let (widths, times) = (json["widths"]?.array ?? [], json["base_us"]?.array ?? [])
        guard widths.count == times.count, widths.count <= CostLimits.mostWidths else {
            throw Failure.corrupt("\(name) has not as many widths as base_us, or more than \(CostLimits.mostWidths)")
        }
        let measured = json["measured_widths"] == nil ? widths.count : json["measured_widths"]?.int ?? -1
        guard (0...widths.count).contains(measured) else {
            throw Failure.corrupt("measured_widths of \(name) is not from 0 to the number of its widths")
        }
        var table = try CostLimits.table(
            widths: widths.map { $0.int ?? 0 }, base: times.map { $0.number ?? .nan },
            perContext: time(json["per_context_us"], "per_context_us of \(name)"),
            perAttended: time(json["per_attended_us"], "per_attended_us of \(name)"), name)
        if measured < widths.count { table.measured = widths.indices.map { $0 < measured } }
        return table
    }

    private static func time(_ json: JSON?, _ name: String) throws -> Double {
        try CostLimits.time(json?.number ?? .nan, name)
    }
}

extension CostLimits {
    package static func table(
        widths: [Int], base: [Double], perContext: Double, perAttended: Double, _ name: String
    ) throws -> PassCosts {
        guard (1...mostWidths).contains(widths.count), widths.first == 1, (widths.last ?? 0) <= widest,
            zip(widths, widths.dropFirst()).allSatisfy({ $0 < $1 })
        else {
            throw Failure.invalid(
                "widths of \(name) must ascend from 1 to at most \(widest), and be \(mostWidths) at most")
        }
        guard base.count == widths.count, base.allSatisfy({ $0 > 0 && $0 <= longest }) else {
            throw Failure.invalid("base_us of \(name) must be above 0, at most \(longest), and one for each width")
        }
        return PassCosts(
            widths: widths, base: base, perContext: try time(perContext, "per_context_us of \(name)"),
            perAttended: try time(perAttended, "per_attended_us of \(name)"))
    }

    /// A time that may be 0.
    package static func time(_ value: Double, _ name: String) throws -> Double {
        guard value >= 0, value <= longest else {
            throw Failure.invalid("\(name) is \(value); it must be from 0 to \(longest)")
        }
        return value
    }
}
