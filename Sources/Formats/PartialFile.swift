import Glibc

/// A file that is written beside its place, as PATH.partial, and moved there when it is whole: a run that ends early
/// leaves nothing that looks like a file. What is not finished is removed.
package final class PartialFile {
    package let path: String
    package private(set) var byteCount = 0
    private let partialPath: String
    private let descriptor: Int32
    private var isOpen = true

    /// `sources` must not be written to, whatever they are called; another file at `path` is replaced only if `force`.
    /// `mode`: who may read and write it.
    package init(path: String, force: Bool, sources: [FileSource] = [], mode: UInt32 = 0o666) throws {
        guard !path.utf8.contains(0) else { throw Failure.invalid("path contains a NUL byte") }
        self.path = path
        partialPath = path + ".partial"
        try Self.check(path, force: force)
        for source in sources where source.isFile(at: path) || source.isFile(at: partialPath) {
            throw Failure.invalid("writing \(path) would overwrite \(source.path), which is read")
        }
        descriptor = try Self.open(partialPath, mode: mode)
    }

    private static func check(_ path: String, force: Bool) throws {
        var status = stat()
        guard unsafe stat(path, &status) == 0 else { return }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw Failure.invalid("cannot write \(path): it is a directory or a special file")
        }
        guard force else { throw Failure.invalid("\(path) exists; --force replaces it") }
    }

    /// Opens what a run that was killed may have left; the lock keeps out one that still writes there.
    private static func open(_ path: String, mode: mode_t) throws -> Int32 {
        let fd = unsafe Glibc.open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, mode)
        guard fd >= 0 else { throw Failure(.io, "cannot write \(path): \(systemErrorText(errno))") }
        var status = stat()
        guard unsafe fstat(fd, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            close(fd)
            throw Failure(.io, "cannot write \(path): it is not a regular file")
        }
        let isLocked = lockf(fd, F_TLOCK, 0) == 0 || (errno != EACCES && errno != EAGAIN)
        // The other run may have moved or removed the file between the opening and the lock.
        guard isLocked, FileIdentity(path: path) == FileIdentity(status) else {
            close(fd)
            throw Failure(.io, "another process is writing \(path)")
        }
        guard ftruncate(fd, 0) == 0 else {
            let code = errno
            close(fd)
            throw Failure(.io, "cannot write \(path): \(systemErrorText(code))")
        }
        return fd
    }

    deinit { discard() }

    package func append(_ bytes: [UInt8]) throws {
        precondition(isOpen, "the file is finished")
        var done = 0
        while done < bytes.count {
            let count = unsafe bytes[done...].withUnsafeBytes {
                unsafe write(descriptor, $0.baseAddress, $0.count)
            }
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { throw failure("write") }
            done += count
        }
        byteCount += bytes.count
    }

    /// Moves the file to its place once the disk has it.
    package func finish() throws {
        precondition(isOpen, "the file is finished")
        guard fsync(descriptor) == 0 else { throw failure("write") }
        guard unsafe rename(partialPath, path) == 0 else { throw failure("rename") }
        isOpen = false
        close(descriptor)
    }

    private func failure(_ what: String) -> Failure {
        Failure(.io, "cannot \(what) \(partialPath): \(systemErrorText(errno))")
    }

    private func discard() {
        guard isOpen else { return }
        isOpen = false
        _ = unsafe unlink(partialPath)
        close(descriptor)
    }
}
