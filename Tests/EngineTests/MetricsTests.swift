import Engine
import Formats
import Scheduling
import Speculation
import TestSupport
import Testing

/// The exposition format, read as a server reads it.
@Suite struct MetricsTests {
    /// A metric with its samples: (name, labels, value).
    private struct Family {
        var type = ""
        var samples: [(name: Substring, labels: [Substring: Substring], value: Double)] = []
    }

    private func parse(_ text: String) throws -> [Substring: Family] {
        var families: [Substring: Family] = [:]
        var current: Substring = ""
        #expect(text.hasSuffix("\n"))
        for line in text.split(separator: "\n", omittingEmptySubsequences: false).dropLast() {
            if line.hasPrefix("# HELP ") {
                current = try #require(line.dropFirst(7).split(separator: " ").first)
                #expect(families[current] == nil, "\(current) comes twice")
                families[current] = Family()
            } else if line.hasPrefix("# TYPE ") {
                let words = line.dropFirst(7).split(separator: " ")
                #expect(words.count == 2 && words[0] == current)
                families[current]?.type = String(words[1])
            } else {
                families[current]?.samples.append(try sample(line))
            }
        }
        return families
    }

    private func sample(_ line: Substring) throws -> (name: Substring, labels: [Substring: Substring], value: Double) {
        let space = try #require(line.lastIndex(of: " "))
        let value = try #require(Double(line[line.index(after: space)...]))
        let parts = line[..<space].split(separator: "{")
        var labels: [Substring: Substring] = [:]
        if parts.count == 2 {
            #expect(parts[1].hasSuffix("}"))
            for pair in parts[1].dropLast().split(separator: ",") {
                let sides = pair.split(separator: "=")
                try #require(sides.count == 2 && sides[1].first == "\"" && sides[1].last == "\"")
                labels[sides[0]] = sides[1].dropFirst().dropLast()
            }
        }
        return (parts[0], labels, value)
    }

    private func check(_ name: Substring, _ family: Family) throws {
        #expect(name.hasPrefix("foretoken_"))
        #expect(!family.samples.isEmpty, "\(name) has no samples")
        switch family.type {
        case "counter":
            #expect(name.hasSuffix("_total"))
            #expect(family.samples.allSatisfy { $0.name == name && $0.value >= 0 })
        case "gauge": #expect(!name.hasSuffix("_total") && family.samples.count == 1)
        case "histogram": try checkHistogram(name, family)
        default: Issue.record("\(name) is of type \(family.type)")
        }
    }

    /// Buckets never fall, their bounds rise to infinity, and the last has all.
    private func checkHistogram(_ name: Substring, _ family: Family) throws {
        var (bound, count) = (-Double.infinity, 0.0)
        for sample in family.samples {
            switch sample.name {
            case name + "_bucket":
                let own = try #require(sample.labels["le"].flatMap { Double(String($0)) })
                #expect(own > bound && sample.value >= count)
                (bound, count) = (own, sample.value)
            case name + "_sum": #expect(sample.value.isFinite)
            case name + "_count":
                #expect(bound == .infinity && sample.value == count)
                (bound, count) = (-.infinity, 0)
            default: Issue.record("\(sample.name) is no part of a histogram")
            }
        }
    }

    @Test func theTextIsWhatAServerReads() throws {
        let scripted = try ScriptedEngine(
            drafts: { Array($0.tokens.suffix(3)) }, change: { $0.policy = .goodput })
        var request = tokenRequest([1, 2, 3], 60)
        request.ignoresEndOfGeneration = true
        for text in [scripted.engine.snapshot().prometheusText, try after(scripted, request)] {
            for (name, family) in try parse(text) { try check(name, family) }
        }
        let figures = scripted.engine.snapshot()
        let families = try parse(figures.prometheusText)
        func value(_ name: Substring, _ label: Substring = "", _ own: Substring = "") throws -> Double {
            let samples = try #require(families["foretoken_" + name]).samples
            return try #require(samples.first { label.isEmpty || $0.labels[label] == own }).value
        }
        #expect(try value("generation_tokens_total") == 120)
        #expect(try value("requests_finished_total", "reason", "length") == 2)
        #expect(try value("requests_finished_total", "reason", "stop") == 0)
        #expect(try value("num_requests_running") == 0)
        #expect(try value("kv_blocks_capacity") == Double(figures.kvBlocksTotal))
        #expect(try value("spec_decode_num_draft_tokens_total") == Double(figures.draftTokens))
        #expect(
            try value("spec_decode_num_accepted_tokens_per_pos_total", "position", "0")
                == Double(figures.acceptedPerPosition[0]))
        #expect(try value("steps_total") == Double(figures.steps))
    }

    private func after(_ scripted: ScriptedEngine, _ request: RequestOptions) throws -> String {
        #expect(try scripted.run([request, request]).problems.isEmpty)
        return scripted.engine.snapshot().prometheusText
    }

    @Test func histogramsCount() {
        var histogram = Histogram(bounds: [1, 2, 4])
        for value in [0, 1, 1.5, 4, 5, .nan, .infinity] { histogram.add(value) }
        #expect(histogram.atMost == [2, 3, 4, 5])
        #expect(histogram.count == 5 && histogram.sum == 11.5)
    }
}
