import Glibc
import Synchronization

/// Writing to standard output and standard error without buffers in between.
enum Output {
    static func write(_ bytes: [UInt8], to descriptor: Int32 = 1) {
        var done = 0
        while done < bytes.count {
            let count = unsafe bytes[done...].withUnsafeBytes {
                unsafe Glibc.write(descriptor, $0.baseAddress, $0.count)
            }
            if count < 0 && errno == EINTR { continue }
            // The reader went away: there is nobody left to tell.
            guard count > 0 else { exit(1) }
            done += count
        }
    }

    static func line(_ text: String) { write(Array((text + "\n").utf8)) }
    /// A row of a table of figures.
    static func columns(_ cells: [String]) {
        line(cells.map { String(repeating: " ", count: max(0, 12 - $0.count)) + $0 }.joined())
    }

    static func note(_ text: String) { write(Array((text + "\n").utf8), to: 2) }
    static var errorIsTerminal: Bool { isatty(2) == 1 }
}

/// Ctrl-C as a flag: the command ends its work cleanly, and a second one ends it at once.
enum Interrupt {
    private static let flag = Atomic<Bool>(false)

    static var isRequested: Bool { flag.load(ordering: .relaxed) }

    static func install() {
        var action = sigaction()
        // Without SA_RESTART, so that a read of standard input ends too.
        unsafe action.__sigaction_handler.sa_handler = { _ in
            if Interrupt.flag.exchange(true, ordering: .relaxed) { _exit(130) }
        }
        _ = unsafe sigaction(SIGINT, &action, nil)
    }
}

/// A bar on standard error while a model loads, where that is a terminal.
struct LoadBar {
    let name: String
    private let isShown = Output.errorIsTerminal
    private static let width = 32

    init(path: String) { name = path.split(separator: "/").last.map(String.init) ?? path }

    func show(_ done: Int, _ total: Int) {
        guard isShown, total > 0 else { return }
        let filled = done * Self.width / total
        let bar = String(repeating: "█", count: filled) + String(repeating: "░", count: Self.width - filled)
        Output.write(Array("\r\(name) \(bar) \(done * 100 / total)% ".utf8), to: 2)
        if done == total { Output.write(Array("\r\u{1B}[K".utf8), to: 2) }
    }
}
