/// The policies that an engine offers, in the order of the C interface.
package enum PolicyKind: Int32, Sendable, CaseIterable {
    case off = 0
    case `static` = 1
    case smartspec = 2
    case turbospec = 3
    case adaspec = 4
    case goodput = 5

    package var name: String {
        switch self {
        case .off: "off"
        case .static: "static"
        case .smartspec: "smartspec"
        case .turbospec: "turbospec"
        case .adaspec: "adaspec"
        case .goodput: "goodput"
        }
    }

    /// nil for a name that no policy has.
    package init?(name: String) {
        guard let kind = Self.allCases.first(where: { $0.name == name }) else { return nil }
        self = kind
    }
}
