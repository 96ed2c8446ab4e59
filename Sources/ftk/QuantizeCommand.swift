import ArgumentParser
import Formats
import Glibc
import Kernels
import Model

extension QuantizationRecipe: ExpressibleByArgument {
    public init?(argument: String) { self.init(name: argument) }
    public static var allValueStrings: [String] { allCases.map(\.rawValue) }
}

struct QuantizeCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "quantize", abstract: "Write a GGUF file again with smaller weights.",
        discussion: """
            The matrices change their type; everything else stays. Q4_K_M is Q4_K with some matrices as Q6_K, and \
            Q5_K_M is Q5_K with the same ones. A matrix whose rows are not whole blocks of the type gets the nearest \
            type that fits: Q5_0 for Q4_K, Q8_0 for Q5_K and Q6_K, and F16 where rows are not blocks of 32 either.
            """)

    @Argument(help: "A GGUF file, best with weights as F32, F16 or BF16.") var input: String
    @Argument(help: "The file to write.") var target: String
    @Argument(help: "What the matrices become, in upper or lower case.") var type: QuantizationRecipe
    @Flag(help: "Replace the file to write if it exists.") var force = false
    @Option(name: [.customShort("t"), .long], help: "Threads that compute; 0: as many as the process may use.")
    var threads = 0
    @OptionGroup var output: JSONFlag

    func run() throws {
        let threads = try threadCount(threads)
        let quantizer = try ModelQuantizer(path: input, recipe: type)
        // A file that exceeds the limit of the process is an error like a full disk, not a signal.
        _ = signal(SIGXFSZ, SIG_IGN)
        let bar = LoadBar(path: target)
        let report = try quantizer.write(to: target, force: force, pool: ThreadPool(threads: threads)) { done, total in
            bar.show(done, total)
            return !Interrupt.isRequested
        }
        if output.json { Output.line(json(report).rendered) } else { Output.line(summary(report)) }
    }

    private func json(_ report: QuantizationReport) -> JSONText {
        .object([
            ("output", .string(target)), ("quantization", .string(type.rawValue)),
            ("input_bytes", .int(report.inputBytes)), ("output_bytes", .int(report.outputBytes)),
            (
                "types",
                .array(
                    report.types.map {
                        .object([
                            ("type", .string($0.type.name)), ("tensors", .int($0.tensors)), ("bytes", .int($0.bytes)),
                            ("relative_rms_error", .number($0.relativeError)),
                        ])
                    })
            ),
        ])
    }

    private func summary(_ report: QuantizationReport) -> String {
        func megabytes(_ bytes: Int) -> String { fixed(Double(bytes) / 1e6, 1) }
        let types = report.types.map {
            let error = $0.relativeError > 0 ? " (error \(fixed($0.relativeError * 100, 2))%)" : ""
            return "\($0.tensors) \($0.type.name)" + error
        }
        return "\(target): \(megabytes(report.inputBytes)) to \(megabytes(report.outputBytes)) MB, tensors: "
            + types.joined(separator: ", ")
    }
}
