package import Formats
import Glibc

/// What `body` fails with; nil when it succeeds, or fails with something else than a `Failure`.
package func failure(of body: () throws -> Void) -> Failure? {
    do {
        try body()
        return nil
    } catch {
        return error as? Failure
    }
}

/// A file or folder under Tests, such as "ModelTests/Fixtures/models".
package func testFile(_ relative: String) -> String {
    let parts = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(2)
    return parts.joined(separator: "/") + "/" + relative
}

package func contents(of path: String) throws -> [UInt8] {
    try FileSource.contents(of: path, limit: 1 << 30)
}

/// Little-endian floats.
package func floats(of path: String) throws -> [Float] {
    let bytes = try contents(of: path)
    return bytes.withUnsafeBytes { raw in
        (0..<raw.count / 4).map { Float(bitPattern: raw.loadUnaligned(fromByteOffset: $0 * 4, as: UInt32.self)) }
    }
}

package func littleEndian(_ values: [Float]) -> [UInt8] {
    values.withUnsafeBytes { Array($0) }
}

/// A folder that is removed, with the files in it, with the last reference to it.
package final class TemporaryFolder {
    package let path: String

    package init() throws {
        let root = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
        var template = Array((root + "/foretoken.XXXXXX").utf8CString)
        guard mkdtemp(&template) != nil else { throw Failure(.io, "cannot make a folder in \(root)") }
        path = String(decoding: template.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit {
        for name in names(in: path) { unlink(path + "/" + name) }
        rmdir(path)
    }

    /// Writes a file of the folder and returns its path.
    @discardableResult
    package func write(_ bytes: [UInt8], to name: String) throws -> String {
        let file = path + "/" + name
        let descriptor = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw Failure(.io, "cannot write \(file)") }
        defer { close(descriptor) }
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes { raw in
                Glibc.write(descriptor, raw.baseAddress.map { $0 + done }, raw.count - done)
            }
            guard count > 0 else { throw Failure(.io, "cannot write \(file)") }
            done += count
        }
        return file
    }

    /// Copies the files of another folder.
    package func copy(filesOf folder: String) throws {
        for name in names(in: folder) { try write(contents(of: folder + "/" + name), to: name) }
    }

    package func remove(_ name: String) { unlink(path + "/" + name) }
}

/// The names of the files of a folder.
private func names(in folder: String) -> [String] {
    guard let directory = opendir(folder) else { return [] }
    defer { closedir(directory) }
    var result: [String] = []
    while let entry = readdir(directory) {
        let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
            pointer.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
        }
        if name != ".", name != ".." { result.append(name) }
    }
    return result
}
