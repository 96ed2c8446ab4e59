import AllocationCounter
import Formats
import Glibc
import Kernels
import Model
import Speculation
import Synchronization
import TestSupport
import Testing

/// In processes of their own, where no other test takes part.
@Suite struct AllocationTests {
    @Test func theCounterCounts() async {
        await #expect(processExitsWith: .success) {
            guard allocationsOfAnArray() == 0 else { exit(EXIT_FAILURE) }
            allocations_watch()
            guard allocationsOfAnArray() > 0 else { exit(EXIT_FAILURE) }
            let counted = Atomic(0)
            let child = startThread { counted.store(allocationsOfAnArray(), ordering: .relaxed) }
            guard let child, pthread_join(child, nil) == 0, counted.load(ordering: .relaxed) > 0 else {
                exit(EXIT_FAILURE)
            }
        }
    }

    /// A pass, its logits and the choice of the tokens, for one row and for seven, in line and as a tree, alone and with a
    /// second thread.
    @Test func aDecodingPassAllocatesNothing() async {
        await #expect(processExitsWith: .success) {
            allocations_watch()
            let model = try TestModels.target()
            for precision in [Activations.Precision.q8, .f32] {
                for threads in [1, 2] {
                    let machine = try Machine(model, threads: threads, kv: .f16, precision: precision)
                    for (rows, parents) in [(1, []), (7, []), (7, [-1, -1, 0, 0, 3, 1])] as [(Int, [Int32])] {
                        let counted = try DecodingLoop(machine, rows: rows, parents: parents).count(passes: 20)
                        guard counted == 0 else {
                            print(
                                "\(counted) allocations in 20 passes of \(rows) rows, tree \(parents), "
                                    + "\(threads) threads, \(precision)")
                            exit(EXIT_FAILURE)
                        }
                    }
                }
            }
        }
    }
}

private func allocationsOfAnArray() -> Int {
    allocations_start()
    let array = [Int](repeating: 1, count: Int(getpid()) + 1)
    return array.count > 1 ? allocations_counted() : -1
}

/// Steps of one sequence as the engine does them, with what it keeps between steps.
private struct DecodingLoop {
    let machine: Machine
    let rows: Int
    /// The tree that the latest rows are.
    let parents: [Int32]
    var batch = RowBatch()
    var token: [Int32]
    let wanted: [Int]
    let sampler = Sampler()
    let parameters = greedy()
    let history = TokenHistory(prompt: [])
    let noise = GumbelNoise(seed: 1)

    init(_ machine: Machine, rows: Int, parents: [Int32]) {
        self.machine = machine
        self.rows = rows
        self.parents = parents
        token = [Int32](repeating: 5, count: rows)
        wanted = Array(0..<rows)
    }

    mutating func pass(at position: Int) throws {
        batch.removeAll()
        batch.append(tokens: token, position: position, blocks: machine.tables[0], parents: parents)
        machine.transformer.forward(batch)
        let logits = machine.transformer.logits(rows: wanted[...])
        let vocabulary = machine.model.configuration.vocabularySize
        for row in 0..<rows {
            let part = UnsafeBufferPointer(rebasing: logits[row * vocabulary..<(row + 1) * vocabulary])
            token[row] = try sampler.choose(
                logits: part.span, parameters: parameters, processors: [], history: history, noise: noise,
                position: position + row)
        }
    }

    func count(passes: Int) throws -> Int {
        var copy = self
        for warmUp in 0..<3 { try copy.pass(at: warmUp) }
        allocations_start()
        for index in 0..<passes { try copy.pass(at: 3 + index) }
        return allocations_counted()
    }
}

private func greedy() -> SamplingParameters {
    var parameters = SamplingParameters()
    parameters.temperature = 0
    return parameters
}
