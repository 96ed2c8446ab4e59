public import CForetoken
import Engine
import Formats

@_cdecl("ftk_engine_metrics") @implementation
public func ftk_engine_metrics(
    _ engine: OpaquePointer!, _ text: UnsafeMutablePointer<CChar>!, _ capacity: Int,
    _ bytes: UnsafeMutablePointer<Int>!
) -> ftk_status {
    report {
        try required(bytes, "bytes").pointee = 0
        let engine = try object(engine, InferenceEngine.self, "engine")
        let metrics = Array(engine.snapshot().prometheusText.utf8)
        return try write(metrics, to: text, capacity: capacity, bytes: bytes)
    }
}

@_cdecl("ftk_engine_trace") @implementation
public func ftk_engine_trace(
    _ engine: OpaquePointer!, _ text: UnsafeMutablePointer<CChar>!, _ capacity: Int,
    _ bytes: UnsafeMutablePointer<Int>!
) -> ftk_status {
    report {
        try required(bytes, "bytes").pointee = 0
        let engine = try object(engine, InferenceEngine.self, "engine")
        return try engine.decisions { records in
            let lines = records.map { $0.json.rendered + "\n" }.joined()
            let result = try write(Array(lines.utf8), to: text, capacity: capacity, bytes: bytes)
            return (result, isTaken: result == status(FTK_OK))
        }
    }
}
