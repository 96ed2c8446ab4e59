public import CForetoken
import Formats
import Glibc

/// Runs a fallible call: the one place where errors become status codes.
func report(_ body: () throws -> ftk_status) -> ftk_status {
    do {
        return try body()
    } catch let failure as Failure {
        LastError.set(failure.message)
        return failure.code.rawValue
    } catch {
        LastError.set("unexpected error: \(error)")
        return Failure.Code.internalError.rawValue
    }
}

func status(_ constant: Int) -> ftk_status { ftk_status(constant) }

/// The latest error's text of each thread. The key is process-wide by nature; what it leads to belongs to a thread.
private enum LastError {
    private static let key: pthread_key_t? = {
        var key = pthread_key_t()
        return pthread_key_create(&key, { free($0) }) == 0 ? key : nil
    }()
    private static let empty = StaticText("")

    static func set(_ message: String) {
        guard let key else { return }
        let old = pthread_getspecific(key)
        if pthread_setspecific(key, strdup(message)) == 0 { free(old) }
    }

    static var text: UnsafePointer<CChar> {
        guard let key, let text = pthread_getspecific(key) else { return empty.pointer }
        return UnsafePointer(text.assumingMemoryBound(to: CChar.self))
    }
}

/// Text that lives as long as the process.
struct StaticText: @unchecked Sendable {
    let pointer: UnsafePointer<CChar>

    init(_ text: StaticString) {
        pointer = UnsafeRawPointer(text.utf8Start).assumingMemoryBound(to: CChar.self)
    }
}

@_cdecl("ftk_last_error") @implementation
public func ftk_last_error() -> UnsafePointer<CChar>! { LastError.text }

@_cdecl("ftk_abi_version") @implementation
public func ftk_abi_version() -> UInt32 { UInt32(FTK_ABI_VERSION) }

@_cdecl("ftk_version_string") @implementation
public func ftk_version_string() -> UnsafePointer<CChar>! { StaticText("0.1.0").pointer }

@_cdecl("ftk_status_string") @implementation
public func ftk_status_string(_ status: ftk_status) -> UnsafePointer<CChar>! {
    let text: StaticString =
        switch Int(status) {
        case FTK_OK: "FTK_OK"
        case FTK_WOULD_BLOCK: "FTK_WOULD_BLOCK"
        case FTK_TRUNCATED: "FTK_TRUNCATED"
        case FTK_ERROR_INVALID_ARGUMENT: "FTK_ERROR_INVALID_ARGUMENT"
        case FTK_ERROR_STRUCT_SIZE: "FTK_ERROR_STRUCT_SIZE"
        case FTK_ERROR_IO: "FTK_ERROR_IO"
        case FTK_ERROR_CORRUPT_FILE: "FTK_ERROR_CORRUPT_FILE"
        case FTK_ERROR_UNSUPPORTED_ARCHITECTURE: "FTK_ERROR_UNSUPPORTED_ARCHITECTURE"
        case FTK_ERROR_UNSUPPORTED_QUANTIZATION: "FTK_ERROR_UNSUPPORTED_QUANTIZATION"
        case FTK_ERROR_UNSUPPORTED_FORMAT: "FTK_ERROR_UNSUPPORTED_FORMAT"
        case FTK_ERROR_VOCABULARY_MISMATCH: "FTK_ERROR_VOCABULARY_MISMATCH"
        case FTK_ERROR_OUT_OF_MEMORY: "FTK_ERROR_OUT_OF_MEMORY"
        case FTK_ERROR_QUEUE_FULL: "FTK_ERROR_QUEUE_FULL"
        case FTK_ERROR_CONTEXT_TOO_LONG: "FTK_ERROR_CONTEXT_TOO_LONG"
        case FTK_ERROR_CANCELLED: "FTK_ERROR_CANCELLED"
        case FTK_ERROR_WRONG_STATE: "FTK_ERROR_WRONG_STATE"
        case FTK_ERROR_NOT_FOUND: "FTK_ERROR_NOT_FOUND"
        case FTK_ERROR_INTERNAL: "FTK_ERROR_INTERNAL"
        default: "unknown status"
        }
    return StaticText(text).pointer
}
