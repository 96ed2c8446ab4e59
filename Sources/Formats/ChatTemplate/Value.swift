extension Jinja {
    /// What an expression evaluates to. Lists and dictionaries never change: the sandbox in which these
    /// templates are meant to run forbids it.
    enum Value {
        /// A missing variable or attribute, and how an error calls it.
        case undefined(String)
        case none
        case bool(Bool)
        case int(Int)
        case float(Double)
        case text(Text)
        case list(Items)
        case tuple(Items)
        case dictionary(Dictionary)
        case namespace(Namespace)
        case macro(Macro)
        case loop(Loop)
        case function(Function)
        case method(Method)

        static func string(_ string: String) -> Value { .text(Text(string)) }
        static let maximumDepth = 256
    }

    enum Function: String {
        case range, namespace, dict
        case raiseException = "raise_exception"
        case strftimeNow = "strftime_now"
    }

    struct Items {
        let values: [Value]
        /// Levels of containers, this one included: destroying and walking values recurses this deep.
        let depth: Int
    }

    final class Namespace {
        var values: [[UInt8]: Value] = [:]
    }

    final class Macro {
        let definition: MacroDefinition
        let scope: Scope

        init(definition: MacroDefinition, scope: Scope) {
            self.definition = definition
            self.scope = scope
        }
    }

    /// A method of a value, not yet called.
    final class Method {
        let receiver: Value
        let name: String

        init(receiver: Value, name: String) {
            self.receiver = receiver
            self.name = name
        }
    }

    /// The variable `loop`.
    final class Loop {
        let items: [Value]
        var index = 0
        var lastChecked: [Value]?

        init(items: [Value]) { self.items = items }
    }

    final class Scope {
        let parent: Scope?
        var variables: [String: Value] = [:]

        init(parent: Scope?) { self.parent = parent }

        func lookUp(_ name: String) -> Value? {
            var scope: Scope? = self
            while let current = scope {
                if let value = current.variables[name] { return value }
                scope = current.parent
            }
            return nil
        }
    }

    /// A dictionary that keeps the order of insertion.
    struct Dictionary {
        enum Key: Hashable {
            case none
            case int(Int)
            case float(Double)
            case text([UInt8])
        }

        private(set) var keys: [Value] = []
        private(set) var values: [Value] = []
        private var places: [Key: Int] = [:]
        private(set) var depth = 1

        var count: Int { keys.count }
        var entries: Zip2Sequence<[Value], [Value]> { zip(keys, values) }

        subscript(key: Key) -> Value? { places[key].map { values[$0] } }

        /// False when the value nests too deeply.
        mutating func set(_ name: Value, key: Key, to value: Value) -> Bool {
            guard let below = value.depth, below < Value.maximumDepth else { return false }
            depth = max(depth, below + 1)
            if let place = places[key] {
                values[place] = value
            } else {
                places[key] = keys.count
                keys.append(name)
                values.append(value)
            }
            return true
        }
    }
}

extension Jinja.Value {
    /// Levels of containers; nil for what may not be held by one, so that no chain of values can grow
    /// without bound.
    var depth: Int? {
        switch self {
        case .list(let items), .tuple(let items): items.depth
        case .dictionary(let dictionary): dictionary.depth
        case .method(let method): method.receiver.depth.map { $0 + 1 }
        case .loop: nil
        default: 0
        }
    }

    /// The value as a key; nil when it cannot be one.
    var key: Jinja.Dictionary.Key? {
        switch self {
        case .none: Jinja.Dictionary.Key.none
        case .bool(let value): .int(value ? 1 : 0)
        case .int(let value): .int(value)
        case .float(let value): Int(exactly: value).map { .int($0) } ?? .float(value)
        case .text(let text): .text(text.bytes)
        default: nil
        }
    }

    var isTrue: Bool {
        switch self {
        case .undefined, .none: false
        case .bool(let value): value
        case .int(let value): value != 0
        case .float(let value): value != 0
        case .text(let text): !text.isEmpty
        case .list(let items), .tuple(let items): !items.values.isEmpty
        case .dictionary(let dictionary): dictionary.count > 0
        case .namespace, .macro, .loop, .function, .method: true
        }
    }

    var isUndefined: Bool { if case .undefined = self { true } else { false } }
    var text: Jinja.Text? { if case .text(let text) = self { text } else { nil } }

    /// The value of an integer or boolean.
    var integer: Int? {
        switch self {
        case .int(let value): value
        case .bool(let value): value ? 1 : 0
        default: nil
        }
    }

    var number: Double? {
        if case .float(let value) = self { value } else { integer.map { Double($0) } }
    }

    /// As an error calls it.
    var typeName: String {
        switch self {
        case .undefined: "undefined"
        case .none: "none"
        case .bool: "a boolean"
        case .int: "an integer"
        case .float: "a float"
        case .text: "a string"
        case .list: "a list"
        case .tuple: "a tuple"
        case .dictionary: "a dictionary"
        case .namespace: "a namespace"
        case .macro: "a macro"
        case .loop: "the loop variable"
        case .function: "a function"
        case .method: "a method"
        }
    }
}
