import Glibc

/// An open regular file that is read by position. Nothing is ever mapped: a file that shrinks or
/// vanishes while it is being read gives an error, never a signal.
package final class FileSource: Sendable {
    package let path: String
    package let size: Int
    private let descriptor: Int32
    private let identity: FileIdentity

    package init(path: String) throws {
        guard !path.utf8.contains(0) else { throw Failure.invalid("path contains a NUL byte") }
        let fd = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard fd >= 0 else { throw Failure(.io, "cannot open \(path): \(systemErrorText(errno))") }
        var status = stat()
        guard unsafe fstat(fd, &status) == 0 else {
            let code = errno
            close(fd)
            throw Failure(.io, "cannot read the status of \(path): \(systemErrorText(code))")
        }
        guard status.st_mode & S_IFMT == S_IFREG else {
            close(fd)
            let kind = status.st_mode & S_IFMT == S_IFDIR ? "a directory" : "not a regular file"
            throw Failure(.io, "cannot read \(path): it is \(kind)")
        }
        self.path = path
        size = Int(status.st_size)
        descriptor = fd
        identity = FileIdentity(status)
    }

    deinit { close(descriptor) }

    /// Fills `buffer` from `offset`; a short file is an error that names the place.
    package func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws {
        let (end, overflow) = offset.addingReportingOverflow(buffer.count)
        guard !overflow, offset >= 0, end <= size else {
            throw Failure.corrupt(
                "\(path): wanted \(buffer.count) bytes at offset \(offset), but the file has \(size) bytes")
        }
        var done = 0
        while done < buffer.count {
            let rest = unsafe UnsafeMutableRawBufferPointer(rebasing: buffer[done...])
            let got = unsafe pread(descriptor, rest.baseAddress, rest.count, off_t(offset + done))
            if got < 0 && errno == EINTR { continue }
            guard got >= 0 else { throw Failure(.io, "cannot read \(path): \(systemErrorText(errno))") }
            guard got > 0 else { throw Failure(.io, "\(path) became shorter while it was being read") }
            done += got
        }
    }

    /// The bytes `offset ..< offset + count`.
    package func read(count: Int, at offset: Int) throws -> [UInt8] {
        guard count >= 0, offset >= 0, count <= size, offset <= size - count else {
            throw Failure.corrupt("\(path): wanted \(count) bytes at offset \(offset), but the file has \(size) bytes")
        }
        return try unsafe [UInt8](unsafeUninitializedCapacity: count) { buffer, used in
            try unsafe read(into: UnsafeMutableRawBufferPointer(buffer), at: offset)
            used = count
        }
    }

    /// Whether `path` leads to this file, under whatever name.
    package func isFile(at path: String) -> Bool { FileIdentity(path: path) == identity }

    /// The whole file; refuses one larger than `limit` bytes.
    package static func contents(of path: String, limit: Int) throws -> [UInt8] {
        let source = try FileSource(path: path)
        guard source.size <= limit else {
            throw Failure.corrupt("\(path) has \(source.size) bytes; at most \(limit) are accepted here")
        }
        return try source.read(count: source.size, at: 0)
    }
}

/// What tells files from each other that may have several names.
struct FileIdentity: Equatable {
    private let device: dev_t
    private let number: ino_t

    init(_ status: stat) {
        device = status.st_dev
        number = status.st_ino
    }

    /// nil where there is no file.
    init?(path: String) {
        var status = stat()
        guard unsafe stat(path, &status) == 0 else { return nil }
        self.init(status)
    }
}

package func systemErrorText(_ code: Int32) -> String {
    var buffer = [CChar](repeating: 0, count: 256)
    guard unsafe strerror_r(code, &buffer, buffer.count) == 0 else { return "error \(code)" }
    return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

package func isDirectory(_ path: String) -> Bool {
    var status = stat()
    return unsafe stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
}

package func fileExists(_ path: String) -> Bool {
    var status = stat()
    return unsafe stat(path, &status) == 0
}
