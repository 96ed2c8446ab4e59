import Formats
import Glibc
import Testing

@Suite struct ChatTemplateRobustnessTests {
    private func failure(_ source: String, limits: ChatTemplate.Limits = .init()) -> Failure? {
        do {
            var template = try ChatTemplate(source)
            template.limits = limits
            _ = try template.render([ChatMessage(role: "user", content: "abc")], now: 0)
            return nil
        } catch let failure as Failure {
            return failure
        } catch {
            Issue.record("\(source): \(error)")
            return nil
        }
    }

    @Test func unsupportedConstructsAreNamed() {
        let cases = [
            ("\n\n{% include 'x' %}", 3, "tag 'include'"), ("{% call m() %}{% endcall %}", 1, "tag 'call'"),
            ("a\n{{ 1 | nonsense }}", 2, "filter 'nonsense'"), ("{{ 1 is nonsense }}", 1, "test 'nonsense'"),
            ("\n{{ nonsense(1) }}", 2, "function 'nonsense'"), ("{{ 'a'.nonsense() }}", 1, "method 'nonsense'"),
            ("{{ 'a'.encode() }}", 1, "method of a string 'encode'"),
            ("{{ [].append(1) }}", 1, "method of a list 'append'"),
            ("{{ {}.pop('a') }}", 1, "method of a dictionary 'pop'"),
            ("{% for x in [] recursive %}{% endfor %}", 1, "loop 'recursive'"), ("{{ f(*x) }}", 1, "argument '*'"),
            ("{{ ['a'] | map('nonsense') }}", 1, "filter 'nonsense'"),
            ("{{ [1] | select('nonsense') }}", 1, "test 'nonsense'"),
            ("{{ '%s' % 1 }}", 1, "'%'"), ("{{ '\\N{DASH}' }}", 1, "'\\N'"), ("{{ strftime_now('%Q') }}", 1, "'%Q'"),
            ("{{ 1 | tojson(default=2) }}", 1, "argument of 'tojson' 'default'"),
            ("{% for x in [1] %}{{ loop.nonsense }}{% endfor %}", 1, "attribute of loop 'nonsense'"),
        ]
        for (source, line, text) in cases {
            let failure = failure(source)
            #expect(failure?.code == .unsupportedFormat, "\(source)")
            #expect(failure?.message.hasPrefix("chat template line \(line): unsupported ") == true, "\(source)")
            #expect(failure?.message.contains(text) == true, "\(source): \(failure?.message ?? "")")
        }
    }

    @Test func raisedMessages() {
        let failure = failure("{{ raise_exception('No ' ~ messages[0].content) }}")
        #expect(failure?.code == .invalidArgument)
        #expect(failure?.message == "chat template: No abc")
    }

    @Test func malformedTemplates() {
        let sources = [
            "{{", "{{ a", "{{ a }", "{% if", "{% if a %}", "{% if a %}{% else %}", "{% for %}", "{% for x in %}",
            "{# a",
            "{% for x in y %}", "{% endif %}", "{% raw %}", "{{ 'a }}", "{{ a b }}", "{{ (a }}", "{{ [a) }}",
            "{{ {a} }}",
            "{{ a. }}", "{{ a[ }}", "{{ a | }}", "{{ a is }}", "{{ }}", "{% %}", "{% set %}", "{% set a %}",
            "{% set a = %}",
            "{% set true = 1 %}", "{% macro %}", "{% macro m( %}", "{% break %}", "{% if a %}{% endfor %}", "{{ $ }}",
            "{{ 99999999999999999999 }}", "{{ a[1:2:3:4] }}", "{% macro m(a=1, b) %}{% endmacro %}", "{{ f(a=1, 2) }}",
            "{% else %}", "{% if a %}{% else %}{% elif b %}{% endif %}", "{{ '\\x4' }}", "{{ '\\uD800' }}",
            "{{ a is b is c }}",
            "{% for x in y %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}", "{{ 1 2 }}", "{{ not }}",
            "{{ 1 + }}",
        ]
        for source in sources {
            #expect(failure("ok\n" + source)?.message.hasPrefix("chat template line 2: ") == true, "\(source)")
        }
    }

    @Test func deepNestingIsRefused() {
        let many = 100_000
        func nest(_ open: String, _ middle: String, _ close: String, _ count: Int) -> String {
            String(repeating: open, count: count) + middle + String(repeating: close, count: count)
        }
        let sources = [
            "{{ " + nest("(", "1", ")", many) + " }}", "{{ " + nest("[", "1", "]", many) + " }}",
            "{{ " + nest("{'a':", "1", "}", many) + " }}", "{{ " + String(repeating: "-", count: many) + "1 }}",
            "{{ " + String(repeating: "not ", count: many) + "1 }}",
            "{{ 1" + String(repeating: "+1", count: many) + " }}",
            "{{ a" + String(repeating: ".a", count: many) + " }}",
            "{{ a" + String(repeating: "[0]", count: many) + " }}",
            "{{ a" + String(repeating: "|trim", count: many) + " }}",
            "{{ a" + String(repeating: "()", count: many) + " }}",
            "{{ 1" + String(repeating: " if 1 else 1", count: 50_000) + " }}",
            "{{ 1" + String(repeating: " if 1", count: many) + " }}",
            nest("{% if 1 %}", "", "{% endif %}", 40_000), nest("{% for x in y %}", "", "{% endfor %}", 30_000),
            "{% for " + nest("(", "x", ")", many) + " in y %}{% endfor %}",
            "{{ a" + String(repeating: " is in a", count: many) + " }}",
            "{{ 1" + String(repeating: "**1", count: many) + " }}",
        ]
        for source in sources { #expect(failure(source) != nil, "\(source.prefix(20))") }
        #expect(failure("{{ " + nest("(", "1", ")", 50) + " }}") == nil)
        #expect(failure("{{ 'a'" + String(repeating: " ~ 'a'", count: 1000) + " }}") == nil)
    }

    @Test func unboundedWorkIsRefused() {
        var limits = ChatTemplate.Limits()
        limits.steps = 200_000
        limits.textBytes = 1 << 20
        let loops = "{% for a in range(1000) %}{% for b in range(1000) %}"
        let ends = "{% endfor %}{% endfor %}"
        let sources = [
            loops + ends, loops + "{{ 'aaaaaaaa' }}" + ends, "{{ range(10000000) }}",
            "{{ range(0, 9223372036854775807) }}",
            "{{ range(-9223372036854775807, 9223372036854775807, 1) }}", "{{ 'a' * 9223372036854775807 }}",
            "{{ 'aaaa' * 4611686018427387905 }}", "{{ [1] * 9223372036854775807 }}", "{{ 9223372036854775807 + 1 }}",
            "{{ 9223372036854775807 * 2 }}", "{{ -9223372036854775807 - 2 }}", "{{ 10 ** 30 }}", "{{ 2 ** 64 }}",
            "{{ (-9223372036854775807 - 1) // -1 }}", "{{ -(-9223372036854775807 - 1) }}", "{{ 1e300 | int }}",
            "{{ (-9223372036854775807 - 1) | abs }}", "{{ 10.0 ** 400 }}", "{{ (-8) ** 0.5 }}", "{{ 0.0 ** -1 }}",
            "{{ 1.0 % 0 }}",
            "{% set ns = namespace(s='aa') %}{% for x in range(100) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
            "{% set ns = namespace(s=[1]) %}{% for x in range(100) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
            "{% set ns = namespace(s=[1]) %}{% for x in range(100) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s }}",
            "{% set ns = namespace(s=[1]) %}{% for x in range(90) %}{% set ns.s = [ns.s, ns.s] %}{% endfor %}{{ ns.s | tojson }}",
            "{% set ns = namespace(s=[1], t=[1]) %}{% for x in range(90) %}{% set ns.s = [ns.s, ns.s] %}"
                + "{% set ns.t = [ns.t, ns.t] %}{% endfor %}{{ ns.s == ns.t }}",
            "{% set ns = namespace(s=[]) %}{% for x in range(5000) %}{% set ns.s = [ns.s] %}{% endfor %}",
            "{% set ns = namespace(s={}) %}{% for x in range(5000) %}{% set ns.s = {'a': ns.s} %}{% endfor %}",
            "{% set ns = namespace(s={}) %}{% for x in range(5000) %}{% set ns.s = [ns.s].index %}{% endfor %}",
            "{% set ns = namespace() %}{% for x in [1] %}{% set ns.s = loop %}{% endfor %}",
            "{% for x in [1] %}{{ [loop] }}{% endfor %}",
            "{% macro m(x) %}{{ m(x) }}{% endmacro %}{{ m(1) }}",
            "{% macro m(x) %}{{ m(x) ~ m(x) }}{% endmacro %}{{ m(1) }}",
            "{{ ('a' * 1000).replace('', 'a' * 10000) }}", "{{ 'a' | indent(1000000000) }}",
            "{{ [1] | tojson(indent=1000000000) }}",
            "{{ ['a' * 100000] * 100 | join }}{{ (['a' * 100000] * 100) | join }}",
            "{% set a %}{% for x in range(99999) %}aaaaaaaaaaaaaaaa{% endfor %}{% endset %}",
        ]
        for source in sources { #expect(failure(source, limits: limits) != nil, "\(source)") }
    }

    @Test func circlesOfValuesAreHarmless() {
        let sources = [
            "{% set ns = namespace() %}{% set ns.me = ns %}{% set ns.l = [ns] %}",
            "{% macro m() %}{% endmacro %}{% set x = m %}",
            "{% set ns = namespace() %}{% for x in range(20000) %}{% set ns.n = namespace(n=ns.n) %}{% endfor %}",
            "{% set ns = namespace() %}{% for x in range(20000) %}{% set old = ns.m %}{% macro m() %}{% endmacro %}"
                + "{% set ns.m = m %}{% endfor %}",
        ]
        for source in sources { #expect(failure(source) == nil, "\(source)") }
        #expect(failure("{% set ns = namespace() %}{% set ns.me = ns %}{{ ns | tojson }}") != nil)
    }

    @Test func extremeSlicesAndIndices() throws {
        let bounds = ["", "0", "-1", "1", "9223372036854775807", "-9223372036854775807 - 1", "none"]
        for start in bounds {
            for stop in bounds {
                for step in bounds where step != "0" {
                    #expect(
                        failure("{{ 'abc'[\(start):\(stop):\(step)] }}{{ [1,2][\(start):\(stop):\(step)] }}") == nil)
                }
            }
        }
        #expect(failure("{{ 'abc'[9223372036854775807] }}{{ [1][-9223372036854775807 - 1] }}") == nil)
        #expect(failure("{{ 'abc'[::0] }}") != nil)
    }

    /// The deepest recursions that the limits allow, on a stack as small as hosts give to threads.
    @Test func smallStacksSuffice() throws {
        let parentheses = String(repeating: "(", count: 60) + "m(x)" + String(repeating: ")", count: 60)
        let lists =
            "{% set ns = namespace(s=[1], t=[1]) %}{% for x in range(250) %}{% set ns.s = [ns.s] %}"
            + "{% set ns.t = [ns.t] %}{% endfor %}"
        let sources = [
            "{% macro m(x) %}{{ m(x) }}{% endmacro %}{{ m(1) }}",
            "{% macro m(x) %}{% for a in [1] %}{% if x %}{{ [m(x) ~ 'a'] | map('trim') | join }}{% endif %}{% endfor %}"
                + "{% endmacro %}{{ m(1) }}",
            "{% macro m(x) %}{% set y %}{% filter upper %}{{ {'a': [x if m(x) else 1]} }}{% endfilter %}{% endset %}"
                + "{% endmacro %}{{ m(1) }}",
            "{% macro m(x) %}{{ \(parentheses) }}{% endmacro %}{{ m(1) }}", lists + "{{ ns.s }}",
            lists + "{{ ns.s | tojson }}",
            lists + "{{ ns.s == ns.t }}{{ ns.s < ns.t }}", "{{ " + String(repeating: "[", count: 100_000),
            String(repeating: "{% if [[[[1]]]] %}", count: 1000), "{{ 1" + String(repeating: "+1", count: 90) + " }}",
            "{{ " + String(repeating: "(1 if ", count: 1000) + "1" + String(repeating: " else 1)", count: 1000) + " }}",
        ]
        for source in sources { try onSmallStack { _ = failure(source) } }
    }

    private func onSmallStack(_ body: @escaping () -> Void) throws {
        final class Box { let body: () -> Void; init(_ body: @escaping () -> Void) { self.body = body } }
        var attributes = pthread_attr_t()
        try #require(pthread_attr_init(&attributes) == 0)
        defer { pthread_attr_destroy(&attributes) }
        try #require(pthread_attr_setstacksize(&attributes, 384 << 10) == 0)
        var thread = pthread_t()
        let box = Unmanaged.passRetained(Box(body)).toOpaque()
        let status = pthread_create(
            &thread, &attributes,
            { pointer in
                guard let pointer else { return nil }
                Unmanaged<Box>.fromOpaque(pointer).takeRetainedValue().body()
                return nil
            }, box)
        try #require(status == 0)
        pthread_join(thread, nil)
    }

    /// Work grows with the length of messages, not with its square.
    @Test func longMessages() throws {
        let golden = try ChatGolden()
        let source = try #require(golden.root["families"]?["qwen3"]?.string)
        let text = String(repeating: "Some words, é and </think> tags.\n", count: 30_000)
        let roles = ["user", "assistant"]
        let messages = (0..<4).map { ChatMessage(role: roles[$0 % 2], content: text) }
        let segments = try ChatTemplate(source).render(messages)
        #expect(segments.reduce(0) { $0 + $1.text.utf8.count } > 2_000_000)
        let words = try ChatTemplate(
            "{{ messages[0].content.split() | length }} {{ messages[0].content | trim | upper }}")
        #expect(try words.render(messages).first?.text == "180000 ")
        let many = (0..<5000).map { ChatMessage(role: roles[$0 % 2], content: "Hello \($0)") }
        #expect(try ChatTemplate(source).render(many).count == 10_001)
    }

    // MARK: Fuzzing

    /// A small generator with a fixed seed (SplitMix64).
    private struct Generator: RandomNumberGenerator {
        var state: UInt64
        mutating func next() -> UInt64 {
            state &+= 0x9E37_79B9_7F4A_7C15
            var mixed = state
            mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
            mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
            return mixed ^ (mixed >> 31)
        }
    }

    private static let fragments = [
        "{{", "}}", "{%", "%}", "{%-", "-%}", "{#", "#}", "(", ")", "[", "]", "{", "}", "|", "'", "\"", "\\", ".", ":",
        "::-1",
        "-", "+", "*", "**", "//", "%", "~", "==", "in", "not ", "is ", "if ", "else", "for x in ", "endfor", "endif",
        "set x = ",
        "loop", "messages", "range(99)", "9223372036854775807", "-1", "0", "1e308", "none", "true", "\n", "\r\n", "é",
        "😀",
        "tojson", "namespace()", "macro m(a)", "endmacro", "join", "split(", "replace(", "[0]", "raw", "endraw",
        "break", "\0",
    ]

    private func mutate(_ text: [UInt8], _ generator: inout Generator) -> String {
        var text = text
        for _ in 0..<Int.random(in: 1...4, using: &generator) {
            let place = Int.random(in: 0...text.count, using: &generator)
            let end = min(text.count, place + Int.random(in: 0...12, using: &generator))
            switch Int.random(in: 0..<4, using: &generator) {
            case 0: text.removeSubrange(place..<end)
            case 1: text.insert(contentsOf: text[place..<end], at: Int.random(in: 0...text.count, using: &generator))
            case 2: text.insert(UInt8.random(in: 0...255, using: &generator), at: place)
            default:
                let fragment = Self.fragments[Int.random(in: 0..<Self.fragments.count, using: &generator)]
                text.replaceSubrange(place..<end, with: Array(fragment.utf8))
            }
        }
        return String(decoding: text, as: UTF8.self)
    }

    @Test func mutatedTemplatesNeverTrap() throws {
        let golden = try ChatGolden()
        let families = try #require(golden.root["families"]?.members).compactMap(\.value.string)
        let small = try #require(golden.root["cases"]?.array).compactMap { $0["template"]?.string }
        var generator = Generator(state: 42)
        var rendered = 0
        for round in 0..<20_000 {
            let pool = round % 4 == 0 ? families : small
            let source = mutate(Array(pool[Int.random(in: 0..<pool.count, using: &generator)].utf8), &generator)
            do {
                var template = try ChatTemplate(source)
                template.limits.steps = 20_000
                template.limits.textBytes = 1 << 16
                _ = try template.render(
                    messages: golden.messages, addGenerationPrompt: true, tools: golden.root["tools"],
                    extra: golden.extra,
                    now: round)
                rendered += 1
            } catch is Failure {
                continue
            }
        }
        #expect(rendered > 1000)
    }
}
