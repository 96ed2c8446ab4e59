import Scheduling
import TestSupport
import Testing

@Suite struct PlannerTests {
    private struct Instance {
        var requests: [RequestSnapshot]
        var maxRows: Int
        var prefillRows: Int
    }

    private static func random(_ random: inout SplitMix64) -> Instance {
        let count = random.int(1..<21)
        var ids = Array(UInt64(1)...40)
        ids.shuffle(using: &random)
        let requests = (0..<count).map { index in
            let committed = random.int(1..<501)
            let decodes = random.int(0..<3) > 0
            return RequestSnapshot(
                id: ids[index], committed: committed, computed: decodes ? committed - 1 : random.int(0..<committed))
        }
        return Instance(
            requests: requests, maxRows: count + random.int(0..<121),
            prefillRows: Bool.random(using: &random) ? .max : random.int(1..<64))
    }

    @Test func propertiesOfAnyPlan() throws {
        var random = SplitMix64(seed: 17)
        var (drafting, chunked) = (0, 0)
        for _ in 0..<20_000 {
            let given = Self.random(&random)
            let plan = planStep(requests: given.requests, maxRows: given.maxRows, prefillRows: given.prefillRows)
            let known = Dictionary(uniqueKeysWithValues: given.requests.map { ($0.id, $0) })
            #expect(plan.rows <= given.maxRows)
            #expect(Set(plan.entries.map(\.id)).count == plan.entries.count)
            for entry in plan.entries {
                let request = try #require(known[entry.id])
                let missing = request.committed - request.computed
                #expect(entry.rows >= 1 && entry.rows <= missing)
                #expect(entry.samples == (entry.rows == missing))
                #expect(entry.isPrefill == (missing > 1))
            }
            let (decoding, waiting) = (given.requests.filter(\.decodes), given.requests.filter { !$0.decodes })
            let planned = plan.entries.map(\.id)
            // Decoding requests all take part, in order of arrival; then a prefix of those that wait.
            #expect(Array(planned.prefix(decoding.count)) == decoding.map(\.id))
            let prefill = Array(planned.dropFirst(decoding.count))
            #expect(prefill == Array(waiting.map(\.id).prefix(prefill.count)))
            let rest = given.maxRows - decoding.count
            #expect(waiting.isEmpty || rest == 0 || !prefill.isEmpty)
            // What is cut short or left out was so for want of rows.
            let isShort = waiting.count > prefill.count || plan.entries.contains { !$0.samples }
            #expect(!isShort || plan.rows - decoding.count == min(rest, given.prefillRows))
            for entry in plan.entries.dropFirst(decoding.count).dropLast() { #expect(entry.samples) }
            #expect(plan.draftRows == (waiting.isEmpty ? rest : rest / 2))
            if plan.draftRows > 0 { drafting += 1 }
            if isShort { chunked += 1 }
        }
        #expect(drafting > 1000 && chunked > 1000)
    }

    @Test func promptsMakeRoomForDrafts() throws {
        var random = SplitMix64(seed: 18)
        var shortened = 0
        for _ in 0..<20_000 {
            let given = Self.random(&random)
            let plan = planStep(requests: given.requests, maxRows: given.maxRows, prefillRows: given.prefillRows)
            let drafts = random.int(0..<plan.draftRows + 1)
            let result = plan.withRoom(forDrafts: drafts)
            #expect(result.rows + drafts <= given.maxRows)
            #expect(result.rows == min(plan.rows, given.maxRows - drafts))
            #expect(result.entries.filter { !$0.isPrefill } == plan.entries.filter { !$0.isPrefill })
            #expect(result.entries.map(\.id) == Array(plan.entries.map(\.id).prefix(result.entries.count)))
            for (before, after) in zip(plan.entries, result.entries) {
                #expect(after.rows >= 1 && after.rows <= before.rows)
                #expect(after.samples == (before.samples && after.rows == before.rows))
            }
            if result != plan { shortened += 1 }
        }
        #expect(shortened > 1000)
    }

    @Test func aPromptIsCutIntoChunks() {
        var computed = 0
        var chunks: [Int] = []
        while 100 - computed > 0 {
            let request = RequestSnapshot(id: 1, committed: 100, computed: computed)
            let plan = planStep(requests: [request], maxRows: 32)
            chunks.append(plan.entries[0].rows)
            #expect(plan.entries[0].samples == (computed + chunks[chunks.count - 1] == 100))
            computed += chunks[chunks.count - 1]
        }
        #expect(chunks == [32, 32, 32, 4])
    }

    @Test func nothingToPlan() { #expect(planStep(requests: [], maxRows: 8).entries.isEmpty) }
}
