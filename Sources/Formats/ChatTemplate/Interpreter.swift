extension Jinja {
    /// Renders a parsed template once.
    final class Interpreter {
        enum Flow { case normal, breakLoop, continueLoop }

        /// Nested evaluations, blocks and macro calls; they fit on a stack of 384 KiB.
        static let maximumDepth = 250

        let limits: ChatTemplate.Limits
        /// Seconds since 1970, where the template may know them.
        let now: Int?
        var line = 1
        var scope: Scope
        private var output = Text()
        private var steps = 0
        private var depth = 0
        /// Whatever may refer to itself in a circle: taken apart at the end.
        private var namespaces: [Namespace] = []
        private var capturedScopes: [Scope] = []

        init(limits: ChatTemplate.Limits, now: Int?) {
            self.limits = limits
            self.now = now
            scope = Scope(parent: nil)
        }

        func render(_ body: [Statement], variables: [String: Value]) throws -> Text {
            defer { release() }
            scope.variables = variables
            for function in [Function.range, .namespace, .dict, .raiseException] {
                scope.variables[function.rawValue] = .function(function)
            }
            if now != nil { scope.variables[Function.strftimeNow.rawValue] = .function(.strftimeNow) }
            scope = Scope(parent: scope)
            _ = try execute(body)
            return output
        }

        private func release() {
            for namespace in namespaces { namespace.values = [:] }
            for scope in capturedScopes { scope.variables = [:] }
        }

        // MARK: Errors and limits

        func failure(_ what: String) -> Failure { Failure.invalid("chat template line \(line): \(what)") }

        func unsupported(_ what: String, _ name: String) -> Failure {
            Failure.unsupported("chat template line \(line): unsupported \(what) '\(name)'")
        }

        /// Counts work to be done.
        func charge(_ amount: Int) throws {
            steps += min(max(amount, 0), limits.steps + 1)
            guard steps <= limits.steps else {
                throw failure("the template takes more than \(limits.steps) steps")
            }
        }

        func charge(_ text: Text) throws { try charge(1 + text.bytes.count / 32 + text.runs.count / 4) }

        /// The value as a key, which takes the work of hashing it; nil when it cannot be one.
        func key(_ value: Value) throws -> Dictionary.Key? {
            if case .text(let text) = value { try charge(text) }
            return value.key
        }

        /// Refuses strings that would be too long.
        func checkLength(_ bytes: Int) throws {
            guard bytes <= limits.textBytes else { throw failure("a string is longer than \(limits.textBytes) bytes") }
        }

        /// Refuses strings that would be too long, and counts the work of making others.
        func checkSize(_ bytes: Int) throws {
            try checkLength(bytes)
            try charge(1 + bytes / 32)
        }

        func deeper<Result>(_ body: () throws -> Result) throws -> Result {
            guard depth < Self.maximumDepth else { throw failure("nested deeper than \(Self.maximumDepth) levels") }
            depth += 1
            defer { depth -= 1 }
            return try body()
        }

        // MARK: Making values

        func list(_ values: [Value]) throws -> Value { .list(try items(values)) }

        func items(_ values: [Value]) throws -> Items {
            try charge(values.count)
            var depth = 0
            for value in values {
                guard let below = value.depth else { throw failure("\(value.typeName) cannot be put into a list") }
                depth = max(depth, below)
            }
            guard depth < Value.maximumDepth else { throw failure("a value is nested too deeply") }
            return Items(values: values, depth: depth + 1)
        }

        func dictionary(_ pairs: [(Value, Value)]) throws -> Value {
            try charge(pairs.count)
            var result = Dictionary()
            for (name, value) in pairs {
                guard let key = try key(name) else { throw failure("\(name.typeName) cannot be a key") }
                guard result.set(name, key: key, to: value) else {
                    throw failure("\(value.typeName) cannot be put into a dictionary, or is nested too deeply")
                }
            }
            return .dictionary(result)
        }

        func makeNamespace() throws -> Namespace {
            try charge(16)
            let namespace = Namespace()
            namespaces.append(namespace)
            return namespace
        }

        // MARK: Scopes and output

        func inScope<Result>(_ inner: Scope, _ body: () throws -> Result) throws -> Result {
            let outer = scope
            scope = inner
            defer { scope = outer }
            return try body()
        }

        /// What `body` puts out, instead of putting it out.
        func captured(_ body: () throws -> Void) throws -> Text {
            let outer = output
            output = Text()
            defer { output = outer }
            try body()
            return output
        }

        func put(_ text: Text) throws {
            try charge(text)
            try checkOutput(adding: text.bytes.count)
            output.append(text)
        }

        private func checkOutput(adding count: Int) throws {
            guard count <= limits.textBytes - output.bytes.count else {
                throw failure("the output is longer than \(limits.textBytes) bytes")
            }
        }

        func capture(_ scope: Scope) throws {
            try charge(16)
            capturedScopes.append(scope)
        }
    }
}
