import Scheduling
import TestSupport
import Testing

@Suite struct PlannerTests {
    private struct Instance {
        var requests: [RequestSnapshot]
        var maxRows: Int
        var policy: PlannedLength
    }

    private static func random(_ random: inout SplitMix64) -> Instance {
        let count = Int.random(in: 1...20, using: &random)
        var ids = Array(UInt64(1)...40)
        ids.shuffle(using: &random)
        let requests = (0..<count).map { index in
            let committed = Int.random(in: 1...500, using: &random)
            let decodes = Int.random(in: 0..<3, using: &random) > 0
            return RequestSnapshot(
                id: ids[index], committed: committed,
                computed: decodes ? committed - 1 : Int.random(in: 0..<committed, using: &random),
                draftRoom: Int.random(in: 0...20, using: &random),
                requestedDraft: Bool.random(using: &random) ? nil : Int.random(in: 0...16, using: &random))
        }
        return Instance(
            requests: requests, maxRows: count + Int.random(in: 0...120, using: &random),
            policy: PlannedLength(length: Int.random(in: 0...16, using: &random)))
    }

    @Test func propertiesOfAnyPlan() throws {
        var random = SplitMix64(seed: 17)
        var (drafting, chunked, both) = (0, 0, 0)
        for _ in 0..<20_000 {
            let given = Self.random(&random)
            let plan = planStep(requests: given.requests, policy: given.policy, maxRows: given.maxRows)
            let order = given.requests.map(\.id)
            let known = Dictionary(uniqueKeysWithValues: given.requests.map { ($0.id, $0) })
            let rows = plan.entries.reduce(0) { $0 + $1.rows + $1.draftLimit }
            #expect(rows <= given.maxRows)
            #expect(Set(plan.entries.map(\.id)).count == plan.entries.count)
            for entry in plan.entries {
                let request = try #require(known[entry.id])
                let missing = request.committed - request.computed
                #expect(entry.rows >= 1 && entry.rows <= missing)
                #expect(entry.samples == (entry.rows == missing))
                #expect(entry.draftLimit >= 0 && entry.draftLimit <= request.draftRoom)
                #expect(entry.draftLimit <= request.requestedDraft ?? given.policy.length)
                #expect(missing == 1 || entry.draftLimit == 0)
            }
            let (decoding, waiting) = (
                given.requests.filter { $0.committed - $0.computed == 1 },
                given.requests.filter { $0.committed - $0.computed > 1 }
            )
            let planned = plan.entries.map(\.id)
            // Decoding requests all take part, in order of arrival; then a prefix of those that wait.
            #expect(Array(planned.prefix(decoding.count)) == decoding.map(\.id))
            let prefill = Array(planned.dropFirst(decoding.count))
            #expect(prefill == Array(waiting.map(\.id).prefix(prefill.count)))
            #expect(waiting.isEmpty || !prefill.isEmpty)
            // What is cut short or left out was so for want of rows.
            let isShort = waiting.count > prefill.count || plan.entries.contains { !$0.samples }
            #expect(!isShort || rows == given.maxRows)
            for entry in plan.entries.dropFirst(decoding.count).dropLast() { #expect(entry.samples) }
            #expect(order.filter { planned.contains($0) }.count == planned.count)
            let drafted = plan.entries.reduce(0) { $0 + $1.draftLimit }
            let rest = given.maxRows - decoding.count
            #expect(drafted <= (waiting.isEmpty ? rest : rest / 2))
            #expect(plan == planStep(requests: given.requests, policy: given.policy, maxRows: given.maxRows))
            if drafted > 0 { drafting += 1 }
            if isShort { chunked += 1 }
            if drafted > 0 && !prefill.isEmpty { both += 1 }
        }
        #expect(drafting > 1000 && chunked > 1000 && both > 1000)
    }

    @Test func draftsGetTheirFullLengthWhereThereIsRoom() {
        let requests = (1...4).map {
            RequestSnapshot(id: $0, committed: 10, computed: 9, draftRoom: 30, requestedDraft: $0 == 2 ? 7 : nil)
        }
        let plan = planStep(requests: requests, policy: PlannedLength(length: 3), maxRows: 64)
        #expect(plan.entries.map(\.draftLimit) == [3, 7, 3, 3])
        #expect(plan.entries.map(\.rows) == [1, 1, 1, 1])
        let tight = planStep(requests: requests, policy: PlannedLength(length: 3), maxRows: 9)
        #expect(tight.entries.map(\.draftLimit) == [3, 2, 0, 0])
    }

    @Test func aPromptIsCutIntoChunks() {
        var computed = 0
        var chunks: [Int] = []
        while 100 - computed > 0 {
            let request = RequestSnapshot(
                id: 1, committed: 100, computed: computed, draftRoom: 5, requestedDraft: nil)
            let plan = planStep(requests: [request], policy: PlannedLength(length: 0), maxRows: 32)
            chunks.append(plan.entries[0].rows)
            #expect(plan.entries[0].samples == (computed + chunks[chunks.count - 1] == 100))
            computed += chunks[chunks.count - 1]
        }
        #expect(chunks == [32, 32, 32, 4])
    }

    @Test func nothingToPlan() {
        let plan = planStep(requests: [], policy: PlannedLength(length: 4), maxRows: 8)
        #expect(plan.entries.isEmpty)
    }
}
