/// A message of a conversation.
package struct ChatMessage: Sendable {
    package var role: String
    package var content: String
    /// Other fields that templates may look at, such as `name` or `tool_calls`.
    package var fields: [(name: String, value: JSON)]

    package init(role: String, content: String, fields: [(name: String, value: JSON)] = []) {
        self.role = role
        self.content = content
        self.fields = fields
    }

    package var json: JSON {
        let first = [
            JSON.Member(key: "role", value: .string(role)), JSON.Member(key: "content", value: .string(content)),
        ]
        return .object(first + fields.map { JSON.Member(key: $0.name, value: $0.value) })
    }
}

/// A chat template: the Jinja program that lays out a conversation as the text a model was trained on.
///
/// Whatever a template does, it ends within fixed bounds of work, memory and depth. The result says which
/// parts the template wrote: only in these may the text of a special token stand for that token.
package struct ChatTemplate: Sendable {
    package struct Segment: Sendable, Equatable {
        package let text: String
        /// Whether the template wrote it; otherwise it comes from the caller.
        package let trusted: Bool

        package init(text: String, trusted: Bool) {
            self.text = text
            self.trusted = trusted
        }
    }

    /// What one rendering may use; one that needs more ends with an error.
    package struct Limits: Sendable {
        /// Units of work: about one per expression and per 32 bytes or one element moved; all take one to two seconds.
        package var steps = 10_000_000
        /// Bytes of the output and of any one string.
        package var textBytes = 64 << 20
        package init() {}
    }

    /// The longest template that is read.
    package static let maximumSourceBytes = 1 << 20

    private let body: [Jinja.Statement]
    package var limits = Limits()

    /// Parses a template; an error names the line and what is wrong or not supported there.
    package init(_ source: String) throws {
        guard source.utf8.count <= Self.maximumSourceBytes else {
            throw Failure.unsupported("chat template: longer than \(Self.maximumSourceBytes) bytes")
        }
        var lexer = Jinja.Lexer(source)
        var parser = Jinja.Parser(try lexer.run())
        body = try parser.template()
    }

    /// The template that the package has under `name`.
    package static func named(_ name: String) throws -> ChatTemplate {
        guard let builtin = ChatTemplateName(rawValue: name) else {
            let names = ChatTemplateName.allCases.map(\.rawValue).joined(separator: ", ")
            throw Failure(.notFound, "no chat template is named '\(name)'; there are \(names)")
        }
        return try ChatTemplate(builtin.source)
    }

    /// Lays out a conversation.
    ///
    /// - Parameters:
    ///   - messages: Objects with `role`, `content` and what else the template looks at.
    ///   - bosText, eosText: The special tokens' texts; they count as the template's own.
    ///   - tools: Descriptions of functions that the model may call; `none` for the template when nil.
    ///   - extra: More variables, such as `enable_thinking`.
    ///   - now: Seconds since 1970, for the function `strftime_now`; when nil there is no such function.
    package func render(
        messages: [JSON], addGenerationPrompt: Bool, bosText: String = "", eosText: String = "", tools: JSON? = nil,
        extra: [(name: String, value: JSON)] = [], now: Int? = nil
    ) throws -> [Segment] {
        let interpreter = Jinja.Interpreter(limits: limits, now: now)
        var variables: [String: Jinja.Value] = [
            "messages": try interpreter.list(messages.map { try interpreter.message($0) }),
            "add_generation_prompt": .bool(addGenerationPrompt),
            "bos_token": .string(bosText),
            "eos_token": .string(eosText),
            "tools": try tools.map { try interpreter.untrusted($0) } ?? Jinja.Value.none,
            "documents": Jinja.Value.none,
        ]
        for (name, value) in extra { variables[name] = try interpreter.untrusted(value) }
        return Self.segments(try interpreter.render(body, variables: variables))
    }

    /// Lays out a conversation of plain messages.
    package func render(
        _ messages: [ChatMessage], addGenerationPrompt: Bool = true, bosText: String = "", eosText: String = "",
        tools: JSON? = nil, extra: [(name: String, value: JSON)] = [], now: Int? = nil
    ) throws -> [Segment] {
        try render(
            messages: messages.map(\.json), addGenerationPrompt: addGenerationPrompt, bosText: bosText,
            eosText: eosText, tools: tools, extra: extra, now: now)
    }

    private static func segments(_ text: Jinja.Text) -> [Segment] {
        var start = 0
        return text.runs.map { run in
            defer { start = run.end }
            return Segment(text: String(decoding: text.bytes[start..<run.end], as: UTF8.self), trusted: run.trusted)
        }
    }
}

extension Jinja.Interpreter {
    /// Roles that are fixed words, not text of the caller's: some templates build a special token around them.
    private static let knownRoles: Set<String> = [
        "assistant", "developer", "function", "ipython", "model", "system", "tool", "user",
    ]

    func message(_ json: JSON) throws -> Value {
        guard case .object(let members) = json, let role = json["role"]?.string, Self.knownRoles.contains(role) else {
            return try untrusted(json, level: 1)
        }
        return try dictionary(
            members.map { member in
                let isRole = member.key == "role" && member.value.string == role
                return (
                    .text(Text(member.key, trusted: false)),
                    isRole ? .string(role) : try untrusted(member.value, level: 2)
                )
            })
    }

    /// A value that the caller gave, all its strings and names marked as such.
    func untrusted(_ json: JSON, level: Int = 0) throws -> Value {
        guard level <= JSON.maximumDepth + 1 else { throw failure("a message is nested too deeply") }
        switch json {
        case .null: return Value.none
        case .bool(let flag): return .bool(flag)
        case .number(let number): return Int(exactly: number).map { .int($0) } ?? .float(number)
        case .string(let string): return .text(Text(string, trusted: false))
        case .array(let array): return try list(array.map { try untrusted($0, level: level + 1) })
        case .object(let members):
            var dictionary = Jinja.Dictionary()
            for member in members {
                let name = Text(member.key, trusted: false)
                let value = try untrusted(member.value, level: level + 1)
                guard dictionary.set(.text(name), key: .text(name.bytes), to: value) else {
                    throw failure("a message is nested too deeply")
                }
            }
            return .dictionary(dictionary)
        }
    }
}
