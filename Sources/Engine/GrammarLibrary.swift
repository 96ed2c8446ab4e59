import Formats
import Kernels
import Speculation

/// The grammars that requests of an engine have asked for, compiled; requests with the same one share its masks.
final class GrammarLibrary: @unchecked Sendable {
    private let tokenizer: Tokenizer
    private let lock = Lock()
    private var trie: TokenTrie?
    /// The latest ones, newest last.
    private var masks: [(source: Source, mask: GrammarMask)] = []
    private static let most = 16

    private enum Source: Equatable {
        case gbnf(String)
        case jsonSchema(String)
    }

    init(tokenizer: Tokenizer) { self.tokenizer = tokenizer }

    /// What a request asks for; nil when it asks for nothing. Fails where the grammar or schema does.
    func constraint(for request: RequestOptions) throws -> GrammarConstraint? {
        let source: Source
        if let grammar = request.grammar {
            source = .gbnf(grammar)
        } else if let schema = request.jsonSchema {
            source = .jsonSchema(schema)
        } else {
            return nil
        }
        return try lock.withLock { GrammarConstraint(try mask(source)) }
    }

    private func mask(_ source: Source) throws -> GrammarMask {
        if let index = masks.firstIndex(where: { $0.source == source }) {
            let found = masks.remove(at: index)
            masks.append(found)
            return found.mask
        }
        let grammar: Grammar
        switch source {
        case .gbnf(let text): grammar = try Grammar(gbnf: text)
        case .jsonSchema(let text): grammar = try Grammar(jsonSchema: text)
        }
        let trie = try trie ?? TokenTrie(tokenizer)
        self.trie = trie
        let mask = GrammarMask(grammar, trie, endTokens: tokenizer.endOfGeneration)
        masks.append((source, mask))
        if masks.count > Self.most { masks.removeFirst() }
        return mask
    }
}

extension GrammarConstraint {
    /// A draft as far as the grammar allows it; an empty one becomes what the grammar leaves no choice about.
    func limiting(_ draft: [Int32], to limit: Int) -> [Int32] {
        if draft.isEmpty { return forcedTokens(limit: limit) }
        var copy = self
        for (index, token) in draft.enumerated() {
            do {
                guard copy.allows(token) else { return Array(draft[..<index]) }
                try copy.advance(token)
            } catch {
                return Array(draft[..<index])
            }
        }
        return draft
    }
}
