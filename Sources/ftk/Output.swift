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

/// JSON for output; object members keep their order.
indirect enum JSONText {
    case null
    case bool(Bool)
    case int(Int)
    case unsigned(UInt64)
    case number(Double)
    case string(String)
    case array([JSONText])
    case object([(String, JSONText)])

    var rendered: String {
        var text = ""
        render(into: &text)
        return text
    }

    private func render(into text: inout String) {
        switch self {
        case .null: text += "null"
        case .bool(let value): text += value ? "true" : "false"
        case .int(let value): text += String(value)
        case .unsigned(let value): text += String(value)
        case .number(let value): text += value.isFinite ? "\(value)" : "null"
        case .string(let value): Self.quote(value, into: &text)
        case .array(let elements):
            text += "["
            for (index, element) in elements.enumerated() {
                if index > 0 { text += ", " }
                element.render(into: &text)
            }
            text += "]"
        case .object(let members):
            text += "{"
            for (index, (key, value)) in members.enumerated() {
                if index > 0 { text += ", " }
                Self.quote(key, into: &text)
                text += ": "
                value.render(into: &text)
            }
            text += "}"
        }
    }

    private static func quote(_ string: String, into text: inout String) {
        text += "\""
        for scalar in string.unicodeScalars {
            switch scalar {
            case "\"": text += "\\\""
            case "\\": text += "\\\\"
            case "\n": text += "\\n"
            case "\r": text += "\\r"
            case "\t": text += "\\t"
            case _ where scalar.value < 0x20 || scalar.value == 0x7F:
                let digits = String(scalar.value, radix: 16)
                text += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: text.unicodeScalars.append(scalar)
            }
        }
        text += "\""
    }
}
