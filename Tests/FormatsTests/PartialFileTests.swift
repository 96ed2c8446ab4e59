import Formats
import Glibc
import TestSupport
import Testing

/// Files that appear whole or not at all.
@Suite struct PartialFileTests {
    private let folder: TemporaryFolder
    private var path: String { folder.path + "/out" }
    private var partial: String { path + ".partial" }

    init() throws { folder = try TemporaryFolder() }

    @Test func theFileAppearsAtTheEnd() throws {
        let file = try PartialFile(path: path, force: false)
        try file.append([1, 2])
        try file.append([])
        try file.append([UInt8](repeating: 3, count: 1 << 20))
        #expect(!fileExists(path) && fileExists(partial))
        #expect(file.byteCount == 2 + 1 << 20)
        try file.finish()
        #expect(!fileExists(partial))
        #expect(try contents(of: path) == [1, 2] + [UInt8](repeating: 3, count: 1 << 20))
    }

    @Test func whatIsNotFinishedIsRemoved() throws {
        try folder.write([9], to: "out")
        do {
            let file = try PartialFile(path: path, force: true)
            try file.append([1])
        }
        #expect(!fileExists(partial))
        #expect(try contents(of: path) == [9])
    }

    @Test func leftoversOfAKilledRunAreReplaced() throws {
        try folder.write([1, 2, 3, 4], to: "out.partial")
        let file = try PartialFile(path: path, force: false)
        try file.append([5])
        try file.finish()
        #expect(try contents(of: path) == [5])
    }

    @Test func anotherFileIsReplacedOnlyByForce() throws {
        try folder.write([9], to: "out")
        let problem = failure { _ = try PartialFile(path: path, force: false) }
        #expect(problem?.message == "\(path) exists; --force replaces it")
        #expect(!fileExists(partial))
        let file = try PartialFile(path: path, force: true)
        try file.finish()
        #expect(try contents(of: path).isEmpty)
    }

    /// Under whatever name the target leads to a source, the source stays.
    @Test func sourcesAreNeverWritten() throws {
        let input = try folder.write([7], to: "in")
        let source = try FileSource(path: input)
        symlink(input, folder.path + "/symbolic")
        link(input, folder.path + "/hard")
        link(input, folder.path + "/x.partial")
        for name in ["in", "./in", "symbolic", "hard", "x"] {
            let problem = failure {
                _ = try PartialFile(path: folder.path + "/" + name, force: true, sources: [source])
            }
            #expect(problem?.message.contains("would overwrite \(input)") == true, "\(name)")
        }
        #expect(try contents(of: input) == [7])
        #expect(fileExists(folder.path + "/x.partial"))
    }

    @Test func specialFilesAndMissingFoldersAreErrors() throws {
        mkdir(folder.path + "/directory", 0o700)
        mkfifo(folder.path + "/pipe", 0o600)
        mkfifo(folder.path + "/y.partial", 0o600)
        symlink("/dev/null", folder.path + "/z.partial")
        defer { rmdir(folder.path + "/directory") }
        for target in ["directory", "pipe", "y", "z", "missing/out", "a\0b"] {
            #expect(failure { _ = try PartialFile(path: folder.path + "/" + target, force: true) } != nil, "\(target)")
        }
    }
}
