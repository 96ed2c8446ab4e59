package import Formats

/// What a generated text must match, compiled. Immutable: one grammar serves any number of requests and threads.
package final class Grammar: Sendable {
    let network: GrammarNetwork
    /// Where every text begins.
    let initial: GrammarConfiguration

    /// From llama.cpp's notation of grammars. Failures give line and column.
    package convenience init(gbnf source: String) throws {
        var parser = try GBNFParser(source)
        let rules = try parser.parse()
        try self.init(rules: rules, root: parser.root)
    }

    /// From a JSON schema, draft 2020-12 or older. The members of an object come in the order of `properties`.
    /// `compact`: without any space between values; otherwise one space, or a new line and up to 20 blanks, may stand
    /// there.
    package convenience init(jsonSchema source: String, compact: Bool = false) throws {
        let bytes = Array(source.utf8)
        guard bytes.count <= GrammarLimits.sourceBytes else {
            throw Failure.invalid(
                "the JSON schema has \(bytes.count) bytes; at most \(GrammarLimits.sourceBytes) are accepted")
        }
        let schema: JSON
        do {
            schema = try JSON(parsing: bytes)
        } catch let failure as Failure {
            throw Failure.invalid("the JSON schema cannot be read: \(failure.message)")
        }
        try self.init(jsonSchema: schema, compact: compact)
    }

    package convenience init(jsonSchema: JSON, compact: Bool = false) throws {
        let converter = JSONSchemaConverter(document: jsonSchema, compact: compact)
        let root = try converter.convertDocument()
        try self.init(rules: converter.rules, root: root)
    }

    init(rules: [GrammarRule], root: Int) throws {
        var compiler = GrammarCompiler(rules: rules)
        let network = try compiler.compile(root: root)
        try GrammarAnalysis(network, owners: compiler.owners, rules: rules).check()
        guard case .next(let initial) = network.initial() else { throw GrammarNetwork.tooAmbiguous }
        self.network = network
        self.initial = initial
    }
}

/// A network of states over the bytes of UTF-8 in which a state may call a rule.
struct GrammarNetwork: Sendable {
    /// What a state does.
    enum Operation: Sendable, Equatable {
        /// Reads a byte along one of `edges[first..<end]`.
        case read(first: Int32, end: Int32)
        /// Goes on at each of `targets[first..<end]`.
        case split(first: Int32, end: Int32)
        /// Matches a rule, then goes on at `next`.
        case call(rule: Int32, next: Int32)
        /// The rule is matched.
        case end
    }

    /// Bytes from `low` to `high` lead to the state `target`.
    struct Edge: Sendable, Hashable {
        let low: UInt8
        let high: UInt8
        let target: Int32
    }

    var operations: [Operation] = []
    var edges: [Edge] = []
    var targets: [Int32] = []
    /// The first state of each rule.
    var starts: [Int32] = []
    var root: Int32 = 0
}

/// What keeps a grammar from outside within bounds.
enum GrammarLimits {
    static let sourceBytes = 1 << 20
    static let rules = 1 << 16
    /// States of the compiled network.
    static let states = 1 << 18
    static let edges = 1 << 20
    /// Groups within groups, or schemas within schemas.
    static let nesting = 64
    static let classRanges = 1 << 12
    /// The largest number in a repetition.
    static let repetitions = 1 << 16
    /// Rules that may be open at a time, but for those that end with the one inside them.
    static let stackDepth = 256
    /// Ways in which a text may be matched so far.
    static let positions = 1024
    /// Steps without a byte that are followed at a time.
    static let silentSteps = 1 << 14
}
