import Formats
import Glibc
import Kernels

/// A folder of measured profiles: one file for each pair of models, machine and way to compute.
package struct ProfileStore: Sendable {
    private let path: String
    private let key: String
    private let folder: String
    private static let mostBytes = 1 << 20

    /// `key` says all that the times depend on.
    package init(folder: String, key: String) {
        self.folder = folder
        self.key = key
        path = "\(folder)/\(key).json"
    }

    /// The profile that is kept; nil where there is none. A file that is damaged or belongs to something else fails.
    package func load() throws -> CostProfile? {
        guard fileExists(path) else { return nil }
        let json: JSON
        do {
            json = try JSON(parsing: FileSource.contents(of: path, limit: Self.mostBytes))
            guard json["key"]?.string == key else {
                throw Failure.corrupt("it belongs to another model or machine")
            }
            return try CostProfile(json)
        } catch let failure as Failure {
            throw failure.prefixed(path)
        }
    }

    /// Keeps a profile in place of what was there; only the owner may read it.
    package func save(_ profile: CostProfile) throws {
        if !isDirectory(folder), unsafe mkdir(folder, 0o700) != 0, !isDirectory(folder) {
            throw Failure(.io, "cannot make the folder \(folder): \(systemErrorText(errno))")
        }
        let file = try PartialFile(path: path, force: true, mode: 0o600)
        try file.append(Array((profile.json(key: key).rendered + "\n").utf8))
        try file.finish()
    }
}
