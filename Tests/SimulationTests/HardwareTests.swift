import Formats
import Scheduling
import Simulation
import Testing

@Suite struct HardwareTests {
    @Test func everyMachineThatComesWithTheLibraryIsWhole() throws {
        #expect(Hardware.names == ["cpu-2-core-1b", "cpu-64-core-8b", "h100-8b", "h100x4-70b"])
        for name in Hardware.names {
            let machine = try Hardware(nameOrPath: name)
            #expect(machine.name == name && !machine.description.isEmpty)
            let target = machine.costs.target.base(rows: 1)
            let draft = try #require(machine.costs.draft).base(rows: 1)
            // A draft model that is worth its name, and rows that cost more where the multiplier is the limit.
            #expect(draft * 4 < target, "\(name)")
            let wide = machine.costs.target.base(rows: machine.maxRows)
            #expect(wide > 2 * target || machine.maxRows > 1024 && wide > 1.5 * target, "\(name)")
            #expect(machine.costs.target.base(rows: 4) < 1.1 * target, "\(name)")
            #expect(machine.kvTokens > 50_000, "\(name)")
        }
    }

    @Test func timesAreThoseOfTheRoofline() throws {
        let machine = try Hardware(parsing: Array(Self.file.utf8), name: "m.json")
        // 10 GB at 100 GB/s; 2 operations for each of 5 G parameters at 1 T/s: 10 ms a row, the knee is at ten rows.
        let target = machine.costs.target
        #expect(abs(target.base(rows: 1) - 100_102) < 1e-6)
        #expect(abs(target.base(rows: 10) - 100_120) < 1e-6)
        #expect(abs(target.base(rows: 15) - 150_130) < 1e-6)
        #expect(abs(target.base(rows: 100) - 1_000_300) < 1e-4)
        #expect(abs(target.perContext - 1000.0 / 100_000) < 1e-12)
        #expect(abs(target.perAttended - 4000.0 / 500_000) < 1e-12)
        #expect(machine.costs.overhead == 7 && machine.costs.draft == nil)
        #expect(machine.kvTokens == 10_000_000)
        #expect(machine.maxRunning == 3 && machine.maxRows == 64)
    }

    @Test func passesMayBeMeasured() throws {
        let measured = """
            "measured_passes": {"source": "s", "rows": [1, 4], "us": [10, 13],
              "per_context_us": {"value": 2, "source": "s"}, "per_attended_us": {"value": 3, "source": "s"}}
            """
        let file = Self.file.replacing("\"parameters_billion\"", with: measured + ", \"unused\"")
        let target = try Hardware(parsing: Array(file.utf8), name: "m.json").costs.target
        #expect(target == PassCosts(widths: [1, 4], base: [10, 13], perContext: 2, perAttended: 3))
    }

    private static let badFields: [(field: String, replacement: String, message: String)] = [
        ("\"memory_gb\"", "\"memory\"", "m.json, field machine.memory_gb is missing"),
        ("\"machine\"", "\"engine2\"", "m.json, field machine is missing"),
        ("\"name\": \"m\"", "\"name\": 3", "m.json, field name: expected a text"),
        (
            "{\"value\": 100, \"source\": \"s\"}", "{\"value\": 100}",
            "m.json, field machine.read_gb_per_s.source is missing"
        ),
        ("{\"value\": 100, \"source\": \"s\"}", "100", "m.json, field machine.read_gb_per_s is not a JSON object"),
        ("{\"value\": 100, ", "{\"value\": -1, ", "m.json, field machine.read_gb_per_s: expected a value above 0"),
        ("{\"value\": 3, ", "{\"value\": 2.5, ", "m.json, field engine.max_running_requests: expected a whole number"),
        ("{\"value\": 64, ", "{\"value\": 2, ", "m.json, field engine.max_step_tokens: expected a whole number from 3"),
        ("\"value\": 20,", "\"value\": 10,", "m.json, field machine.memory_gb: no room"),
        ("\"row_overhead_us\"", "\"row\"", "m.json, field target.row_overhead_us is missing"),
        ("{\"name\": \"m\"", "[\"name\": \"m\"", "m.json: JSON, byte"),
    ]

    @Test(arguments: badFields)
    func aBadFieldIsNamed(field: String, replacement: String, message: String) throws {
        let file = Self.file.replacing(field, with: replacement)
        #expect(file != Self.file)
        let failure = try #require(throws: Failure.self) {
            try Hardware(parsing: Array(file.utf8), name: "m.json")
        }
        #expect(failure.message.hasPrefix(message), "\(failure.message)")
    }

    @Test func anUnknownMachineIsNamed() throws {
        let failure = try #require(throws: Failure.self) { try Hardware(nameOrPath: "abacus") }
        #expect(failure.message.contains("abacus") && failure.message.contains("h100-8b"))
    }

    private static let file = """
        {"name": "m", "description": "d",
         "machine": {"read_gb_per_s": {"value": 100, "source": "s"}, "compute_tera_per_s": {"value": 1, "source": "s"},
           "attention_tera_per_s": {"value": 0.5, "source": "s"}, "memory_gb": {"value": 20, "source": "s"}},
         "target": {"weights_gb": {"value": 1e1, "source": "s"}, "parameters_billion": {"value": 5, "source": "s"},
           "kv_bytes_per_token": {"value": 1000, "source": "s"},
           "attention_ops_per_token": {"value": 4000, "source": "s"},
           "pass_overhead_us": {"value": 1e2, "source": "s"}, "row_overhead_us": {"value": 2e0, "source": "s"}},
         "draft": null,
         "engine": {"max_running_requests": {"value": 3, "source": "s"},
           "max_step_tokens": {"value": 64, "source": "s"},
           "step_overhead_us": {"value": 7, "source": "s"}}}
        """
}
