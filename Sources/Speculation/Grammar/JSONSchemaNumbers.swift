import Formats

extension JSONSchemaConverter {
    /// More digits only lose precision, and a model could add to them for ever.
    private static let maximumDigits = 16
    private static let largest = 9_999_999_999_999_999
    /// Above this neighbouring doubles are too far apart for fractions.
    private static let largestFractionBound = 100_000_000_000_000

    private static let digit = GrammarExpression.any(of: "0"..."9")

    private static var wholeNumber: GrammarExpression {
        .choice([
            .text("0"),
            .sequence([.any(of: "1"..."9"), .repeated(digit, least: 0, most: maximumDigits - 1)]),
        ])
    }

    private func fraction(_ digits: Int) -> GrammarExpression {
        .sequence([.text("."), .repeated(Self.digit, least: 1, most: digits)])
    }

    func anyNumber() throws -> GrammarExpression {
        try sharedRule(.number) {
            let exponent = GrammarExpression.sequence([
                .set(CodePointSet("eE")), .optional(.set(CodePointSet("+-"))),
                .repeated(Self.digit, least: 1, most: 2),
            ])
            return .sequence([
                .optional(.text("-")), Self.wholeNumber, .optional(fraction(Self.maximumDigits)), .optional(exponent),
            ])
        }
    }

    func integer(_ schema: SchemaConstraints) throws -> GrammarExpression {
        let limits = try limits(schema, whole: true)
        guard limits.low != nil || limits.high != nil else {
            return try sharedRule(.integer) { .sequence([.optional(.text("-")), Self.wholeNumber]) }
        }
        let low = limits.low.map { limits.excludesLow ? $0 + 1 : $0 } ?? -Self.largest
        let high = limits.high.map { limits.excludesHigh ? $0 - 1 : $0 } ?? Self.largest
        guard low <= high else { throw failure(schema.path, "no integer lies between the minimum and the maximum") }
        var alternatives: [GrammarExpression] = []
        if high >= 0 { alternatives += Self.numbers(from: max(low, 0), to: high) }
        if low < 0 {
            alternatives.append(
                .sequence([.text("-"), .choice(Self.numbers(from: max(1, -high), to: -low))]))
        }
        return .choice(alternatives)
    }

    func number(_ schema: SchemaConstraints) throws -> GrammarExpression {
        let limits = try limits(schema, whole: false)
        guard limits.low != nil || limits.high != nil else { return try anyNumber() }
        let low = limits.low ?? -Self.largest
        let high = limits.high ?? Self.largest
        let isPoint = low == high && !limits.excludesLow && !limits.excludesHigh
        guard low < high || isPoint else {
            throw failure(schema.path, "no number lies between the minimum and the maximum")
        }
        var alternatives: [GrammarExpression] = []
        if high > 0 || (high == 0 && !limits.excludesHigh) {
            // From below zero on, zero itself counts as not negative.
            alternatives += magnitudes(
                from: max(low, 0), excluded: low >= 0 && limits.excludesLow, to: high, excluded: limits.excludesHigh)
        }
        if low < 0 {
            let negative = magnitudes(
                from: max(-high, 0), excluded: high >= 0 || limits.excludesHigh, to: -low,
                excluded: limits.excludesLow)
            if !negative.isEmpty { alternatives.append(.sequence([.text("-"), .choice(negative)])) }
        }
        return .choice(alternatives)
    }

    /// Numbers of which the whole part and the fraction are written out.
    private func magnitudes(
        from low: Int, excluded excludesLow: Bool, to high: Int, excluded excludesHigh: Bool
    ) -> [GrammarExpression] {
        // So few digits that no number is rounded to a bound that it must stay away from.
        let digits = min(9, max(1, 15 - String(max(excludesLow ? low : 0, excludesHigh ? high : 0)).count))
        let anyFraction = GrammarExpression.optional(fraction(digits))
        var result: [GrammarExpression] = []
        if low < high {
            if excludesLow {
                result.append(
                    .sequence([
                        .text(String(low) + "."), .repeated(.text("0"), least: 0, most: digits / 2),
                        .any(of: "1"..."9"),
                        .repeated(Self.digit, least: 0, most: digits - 1 - digits / 2),
                    ]))
            } else {
                result.append(.sequence([.text(String(low)), anyFraction]))
            }
        }
        if high - low > 1 {
            result.append(.sequence([.choice(Self.numbers(from: low + 1, to: high - 1)), anyFraction]))
        }
        if !excludesHigh, low < high || !excludesLow {
            let zeros = GrammarExpression.sequence([.text("."), .repeated(.text("0"), least: 1, most: digits)])
            result.append(.sequence([.text(String(high)), .optional(zeros)]))
        }
        return result
    }

    // MARK: Bounds

    private struct Limits {
        var low: Int?
        var high: Int?
        var excludesLow = false
        var excludesHigh = false
    }

    private func limits(_ schema: SchemaConstraints, whole: Bool) throws -> Limits {
        var limits = Limits()
        for (keyword, excluded) in [("minimum", false), ("exclusiveMinimum", true)] {
            for (value, path) in schema.all(keyword) {
                let (bound, inside) = try bound(value, path, whole: whole, up: true)
                guard limits.low == nil || limits.low.map({ bound >= $0 }) == true else { continue }
                limits.excludesLow = (excluded && !inside) || (limits.low == bound && limits.excludesLow)
                limits.low = bound
            }
        }
        for (keyword, excluded) in [("maximum", false), ("exclusiveMaximum", true)] {
            for (value, path) in schema.all(keyword) {
                let (bound, inside) = try bound(value, path, whole: whole, up: false)
                guard limits.high == nil || limits.high.map({ bound <= $0 }) == true else { continue }
                limits.excludesHigh = (excluded && !inside) || (limits.high == bound && limits.excludesHigh)
                limits.high = bound
            }
        }
        return limits
    }

    /// A bound as an integer; the next one within for integers, where it is none itself.
    private func bound(_ value: JSON, _ path: String, whole: Bool, up: Bool) throws -> (Int, inside: Bool) {
        guard let number = value.number else { throw failure(path, "must be a number") }
        let largest = Double(whole ? 1 << 53 : Self.largestFractionBound)
        guard number.magnitude <= largest else {
            throw failure(path, "a bound beyond \(Int(largest)) is not supported")
        }
        if let bound = Int(exactly: number) { return (bound, false) }
        guard whole, let bound = Int(exactly: number.rounded(up ? .up : .down)) else {
            throw failure(path, "a bound of numbers must be whole; use the type integer, or leave it out")
        }
        return (bound, true)
    }

    /// The integers from `low` to `high`, both at least 0, as sequences of ranges of digits.
    private static func numbers(from low: Int, to high: Int) -> [GrammarExpression] {
        var result: [GrammarExpression] = []
        var start = low
        while start <= high {
            // The numbers that have as many digits as `start`.
            var end = 9
            while end < start { end = end * 10 + 9 }
            end = min(end, high)
            let products = digitRanges(digits(start), digits(end))
            result += products.map { ranges in
                .sequence(ranges.map { .set(CodePointSet([UInt32($0.lowerBound)...UInt32($0.upperBound)])) })
            }
            start = end + 1
        }
        return result
    }

    private static func digits(_ number: Int) -> ArraySlice<UInt8> { Array(String(number).utf8)[...] }

    private static func digitRanges(_ low: ArraySlice<UInt8>, _ high: ArraySlice<UInt8>) -> [[ClosedRange<UInt8>]] {
        guard let lowest = low.first, let highest = high.first else { return [[]] }
        let (lowRest, highRest) = (low.dropFirst(), high.dropFirst())
        if lowest == highest { return digitRanges(lowRest, highRest).map { [lowest...lowest] + $0 } }
        let zeros = ArraySlice([UInt8](repeating: 0x30, count: lowRest.count))
        let nines = ArraySlice([UInt8](repeating: 0x39, count: lowRest.count))
        var (first, last) = (lowest, highest)
        var (before, after): ([[ClosedRange<UInt8>]], [[ClosedRange<UInt8>]]) = ([], [])
        if lowRest != zeros {
            before = digitRanges(lowRest, nines).map { [lowest...lowest] + $0 }
            first += 1
        }
        if highRest != nines {
            after = digitRanges(zeros, highRest).map { [highest...highest] + $0 }
            last -= 1
        }
        guard first <= last else { return before + after }
        return before + [[first...last] + [ClosedRange<UInt8>](repeating: 0x30...0x39, count: lowRest.count)] + after
    }
}
