import Engine
import Formats
import Glibc
import Kernels
import Model
import Scheduling
import TestSupport
import Testing

/// Passes that take what a table says, on a clock of their own.
private final class TimedExecutor: StepExecutor {
    let vocabularySize = 100
    private let truth: PassCosts
    /// Every so many passes one takes ten times as long.
    private let disturbed: Int
    private(set) var time: Int64 = 0
    private(set) var widths: [Int] = []
    private(set) var highestBlock: Int32 = 0

    init(_ truth: PassCosts, disturbed: Int = .max) {
        self.truth = truth
        self.disturbed = disturbed
    }

    func forward(_ batch: RowBatch) {
        widths.append(batch.count)
        let context = Int(batch.rows[batch.count - 1].place) + 1
        let attended = batch.rows.reduce(0) { $0 + Int($1.place) + 1 }
        let cost = truth.time(rows: batch.count, context: context, attended: attended)
        time += Int64(cost * (widths.count % disturbed == 0 ? 10 : 1))
        let used = (context + kvBlockTokens - 1) / kvBlockTokens
        highestBlock = max(highestBlock, batch.blockTables[..<used].max() ?? 0)
    }

    func copy(_ blocks: [(from: Int32, to: Int32)]) {
        highestBlock = max(highestBlock, blocks.map(\.to).max() ?? 0)
    }

    func moveRows(from places: [Int], to first: Int, blocks: [Int32]) {}
    func withLogits(rows: [Int], _ body: (Int, Span<Float>) throws -> Void) throws {}
}

@Suite struct ProfileMeasurementTests {
    private static let truth = PassCosts(
        widths: [1, 16, 64, 256], base: [10_000, 12_000, 40_000, 170_000], perContext: 2, perAttended: 1)
    private static let prior = PassCosts.guess(
        weightsBytes: 1 << 30, parameters: 1 << 30, kvBytesPerToken: 1 << 15, maxRows: 256)

    private static func measure(
        _ executor: TimedExecutor, budget: Int, maxRows: Int = 256, context: Int = 4096, blocks: Int = 1024
    ) throws -> PassTimes {
        var measurement = PassMeasurement(
            executor: executor, maxRows: maxRows, contextTokens: context, kvBlocks: blocks, clock: { executor.time })
        return try measurement.run(budget: budget)
    }

    @Test(arguments: [Int.max, 7]) func theTableOfTheMachineIsFound(disturbed: Int) throws {
        let executor = TimedExecutor(Self.truth, disturbed: disturbed)
        let times = try Self.measure(executor, budget: 60_000_000)
        let costs = try #require(times.costs(prior: Self.prior))
        #expect(costs.widths.starts(with: Array(1...16) + [24, 32, 48, 64, 96, 128, 192, 256]))
        for rows in [1, 2, 7, 16, 24, 64, 128, 256] {
            #expect(abs(costs.base(rows: rows) / Self.truth.base(rows: rows) - 1) < 0.01, "\(rows) rows")
        }
        #expect(abs(costs.perContext - 2) < 0.05 && abs(costs.perAttended - 1) < 0.01)
    }

    /// Passes of about ten milliseconds in two seconds: not even a round of the wide ones.
    @Test(arguments: [100_000, 400_000, 2_000_000]) func theTimeIsKept(budget: Int) throws {
        let executor = TimedExecutor(Self.truth)
        let costs = try #require(try Self.measure(executor, budget: budget).costs(prior: Self.prior))
        #expect(executor.time <= Int64(budget))
        #expect(executor.time > Int64(budget) / 2)
        #expect(zip(costs.base, costs.base.dropFirst()).allSatisfy { $0 <= $1 })
        #expect(abs(costs.base(rows: 1) / 10_000 - 1) < 0.01)
        // 100 ms are enough for one and eight rows, and so for what lies between.
        #expect(abs(costs.base(rows: 8) / Self.truth.base(rows: 8) - 1) < 0.02)
    }

    @Test func withoutTimeOneRowIsMeasuredNevertheless() throws {
        let executor = TimedExecutor(Self.truth)
        let times = try Self.measure(executor, budget: 0)
        #expect(executor.widths == [1, 1])
        let costs = try #require(times.costs(prior: Self.prior))
        let price = costs.base(rows: 64) / costs.base(rows: 1)
        #expect(abs(price / (Self.prior.base(rows: 64) / Self.prior.base(rows: 1)) - 1) < 0.01)
    }

    @Test(arguments: [(1, 4096, 1024), (32, 64, 4), (256, 16, 1), (256, 4096, 3), (8, 100, 7)])
    func onlyTheRoomThatIsThereIsUsed(maxRows: Int, context: Int, blocks: Int) throws {
        let executor = TimedExecutor(Self.truth)
        let times = try Self.measure(executor, budget: 3_000_000, maxRows: maxRows, context: context, blocks: blocks)
        #expect(executor.highestBlock < Int32(blocks))
        #expect((executor.widths.max() ?? 0) <= min(maxRows, context, blocks * kvBlockTokens))
        #expect(times.costs(prior: Self.prior) != nil)
    }
}

@Suite struct CostProfileTests {
    private static let profile = CostProfile(
        machine: "a \"machine\"", isa: "portable", threads: 2,
        costs: StepCosts(
            target: PassCosts(widths: [1, 2, 8], base: [100.25, 101, 250], perContext: 0.001, perAttended: 1e-7),
            draft: PassCosts(widths: [1], base: [3]), overhead: 12.5))

    private static func parse(_ text: String) throws -> CostProfile { try CostProfile(parsing: Array(text.utf8)) }

    @Test func whatIsWrittenIsRead() throws {
        var plain = Self.profile
        plain.costs.draft = nil
        plain.costs.target.measured = [true, true, false]
        for profile in [Self.profile, plain] {
            #expect(try Self.parse(profile.json(key: "any").rendered) == profile)
        }
    }

    @Test func damageIsNamed() {
        let text = Self.profile.json().rendered
        let damages = [
            ("\"widths\": [1, 2, 8]", "\"widths\": [1, 8, 2]"), ("[1, 2, 8]", "[2, 3, 8]"), ("[1, 2, 8]", "[1, 2]"),
            ("[1, 2, 8]", "[1, 2.5, 8]"), ("[1, 2, 8]", "[1, 2, 1e300]"), ("100.25", "-1"), ("100.25", "0"),
            ("100.25", "1e300"), ("100.25", "null"), ("12.5", "-1"), ("0.001", "\"x\""),
            ("\"threads\": 2", "\"threads\": 0"),
            ("\"draft\": {", "\"draught\": {"), ("\"isa\"", "\"usa\""),
        ]
        for (old, new) in damages {
            let damaged = text.replacing(old, with: new, maxReplacements: 1)
            #expect(damaged != text)
            let problem = failure { _ = try Self.parse(damaged) }
            #expect(problem?.code == .corruptFile || problem?.code == .invalidArgument, "\(old) -> \(new)")
        }
        for count in stride(from: 0, to: text.utf8.count, by: 3) {
            #expect(failure { _ = try CostProfile(parsing: Array(text.utf8.prefix(count))) } != nil)
        }
    }

    @Test func filesAreTheOwnersAlone() throws {
        let folder = try TemporaryFolder()
        let store = ProfileStore(folder: folder.path, key: "abc")
        #expect(try store.load() == nil)
        try store.save(Self.profile)
        try store.save(Self.profile)
        #expect(try store.load() == Self.profile)
        var status = stat()
        #expect(stat(folder.path + "/abc.json", &status) == 0 && status.st_mode & 0o777 == 0o600)
        try folder.write(contents(of: folder.path + "/abc.json"), to: "other.json")
        let foreign = failure { _ = try ProfileStore(folder: folder.path, key: "other").load() }
        #expect(foreign?.message.contains("other.json") == true)
    }
}

/// Profiles of engines.
@Suite struct EngineProfileTests {
    private final class Messages: @unchecked Sendable {
        private let lock = Lock()
        private var texts: [String] = []
        func add(_ text: String) { lock.withLock { texts.append(text) } }
        var all: [String] { lock.withLock { texts } }
    }

    private static func options(_ folder: String?, time: Int, _ messages: Messages) throws -> EngineOptions {
        var options = EngineOptions()
        options.threads = 1
        options.profileTime = time
        options.profileFolder = folder
        options.draftModel = try TestModels.draft()
        options.log.sink = { _, text in messages.add(text) }
        return options
    }

    private static func text(_ options: EngineOptions) throws -> [Int32] {
        let engine = try InferenceEngine(target: TestModels.target(), options: options)
        defer { engine.stop() }
        var request = RequestOptions()
        request.prompt = .text(TestModels.builtInPrompts[0])
        request.maxTokens = 24
        request.seed = 7
        _ = try engine.submit(request)
        var tokens: [Int32] = []
        while try engine.step() {
            for event in engine.poll(timeout: 0) where event.kind == .tokens { tokens += event.tokens }
        }
        return tokens
    }

    private static func files(_ folder: TemporaryFolder) -> [String] {
        guard let directory = opendir(folder.path) else { return [] }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if !name.hasPrefix(".") { names.append(name) }
        }
        return names
    }

    @Test func aProfileIsKeptAndReadAndChangesNoText() throws {
        let (folder, messages) = (try TemporaryFolder(), Messages())
        let plain = try Self.text(Self.options(nil, time: 0, messages))
        #expect(plain.count == 24)
        // Without time nothing is measured, and nothing written.
        #expect(try Self.text(Self.options(folder.path, time: 0, messages)) == plain)
        #expect(Self.files(folder).isEmpty)
        #expect(try Self.text(Self.options(folder.path, time: 50_000, messages)) == plain)
        let names = Self.files(folder)
        #expect(names.count == 1)
        let path = folder.path + "/" + (names.first ?? "")
        let kept = try contents(of: path)
        let profile = try CostProfile(parsing: kept)
        #expect(profile.threads == 1 && profile.isa == InstructionSet.native.name)
        #expect(profile.costs.draft != nil && profile.costs.target.widths.count > 16)
        // It is read, not measured again.
        #expect(try Self.text(Self.options(folder.path, time: 50_000, messages)) == plain)
        #expect(try contents(of: path) == kept)
        #expect(Self.files(folder) == names)
        // Another way to compute has a profile of its own.
        var other = try Self.options(folder.path, time: 10_000, messages)
        other.kvFormat = .f32
        _ = try Self.text(other)
        #expect(Self.files(folder).count == 2)
        #expect(messages.all.isEmpty, "\(messages.all)")
    }

    @Test(arguments: ["", "{", "{\"key\": \"foreign\"}", "half"]) func aDamagedFileIsReplaced(damage: String) throws {
        let (folder, messages) = (try TemporaryFolder(), Messages())
        let options = try Self.options(folder.path, time: 10_000, messages)
        _ = try Self.text(options)
        let name = try #require(Self.files(folder).first)
        let good = try contents(of: folder.path + "/" + name)
        try folder.write(damage == "half" ? Array(good.prefix(good.count / 2)) : Array(damage.utf8), to: name)
        _ = try Self.text(options)
        #expect(messages.all.count == 1 && messages.all[0].contains(name), "\(messages.all)")
        _ = try CostProfile(parsing: contents(of: folder.path + "/" + name))
        _ = try Self.text(options)
        #expect(messages.all.count == 1)
    }

    @Test func aFolderThatCannotBeIsAWarning() throws {
        let (folder, messages) = (try TemporaryFolder(), Messages())
        try folder.write([1], to: "file")
        let text = try Self.text(Self.options(folder.path + "/file", time: 10_000, messages))
        #expect(text.count == 24)
        #expect(messages.all.count == 1 && messages.all[0].contains("/file"), "\(messages.all)")
    }

    @Test func optionsAreChecked() throws {
        for (time, folder, name) in [
            (-1, nil, "profile_us"), (3_600_000_001, nil, "profile_us"), (0, "", "profile_folder"),
        ] {
            var options = EngineOptions()
            options.profileTime = time
            options.profileFolder = folder
            #expect(failure { try options.validate() }?.message.contains(name) == true)
        }
    }

    @Test func modelsAloneAreMeasured() throws {
        var options = EngineOptions()
        options.threads = 1
        options.draftModel = try TestModels.draft()
        let profile = try CostProfile.measure(
            target: TestModels.target(), options: options, budget: 200_000, goesOn: { true })
        let draft = try #require(profile.costs.draft)
        #expect(draft.base(rows: 1) > 0 && profile.costs.target.base(rows: 1) > 0)
        #expect(try CostProfile(parsing: Array(profile.json().rendered.utf8)) == profile)
    }
}
