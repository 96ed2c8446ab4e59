import CForetoken
import Formats
import Glibc

// Reading arguments and writing results: every pointer is checked here before it is followed.

/// A pointer that must not be NULL.
func required<Pointer>(_ pointer: Pointer?, _ name: String) throws -> Pointer {
    guard let pointer else { throw Failure.invalid("\(name) is NULL") }
    return pointer
}

/// A struct that begins with its size. Every size ever released is accepted; there is one so far.
func checkStructSize<Value>(_ pointer: UnsafeRawPointer, _: Value.Type, _ name: String) throws {
    let size = pointer.loadUnaligned(as: UInt32.self)
    guard Int(size) == MemoryLayout<Value>.stride else {
        throw Failure(
            .structSize,
            "struct_size of \(name) is \(size), but \(MemoryLayout<Value>.stride) is expected; set it with the init "
                + "function, or with sizeof for a result")
    }
}

func input<Value>(_ pointer: UnsafePointer<Value>?, _ name: String) throws -> Value {
    let pointer = try required(pointer, name)
    try checkStructSize(pointer, Value.self, name)
    return pointer.pointee
}

/// The place for a result struct, zeroed but for its size.
func output<Value>(_ pointer: UnsafeMutablePointer<Value>?, _ name: String) throws -> UnsafeMutablePointer<Value> {
    let pointer = try required(pointer, name)
    try checkStructSize(pointer, Value.self, name)
    let size = MemoryLayout<Value>.stride
    memset(pointer, 0, size)
    UnsafeMutableRawPointer(pointer).storeBytes(of: UInt32(size), as: UInt32.self)
    return pointer
}

/// Defaults for an options struct, zeroed before.
func initialize<Value>(
    _ pointer: UnsafeMutablePointer<Value>?, _ size: UInt32, _ fill: (inout Value) -> Void
) -> ftk_status {
    report {
        let pointer = try required(pointer, "options")
        guard Int(size) == MemoryLayout<Value>.stride else {
            throw Failure(
                .structSize, "struct_size is \(size), but \(MemoryLayout<Value>.stride) is expected by this library")
        }
        memset(pointer, 0, Int(size))
        UnsafeMutableRawPointer(pointer).storeBytes(of: size, as: UInt32.self)
        fill(&pointer.pointee)
        return status(FTK_OK)
    }
}

/// A truth value.
func flag(_ value: UInt32, _ name: String) throws -> Bool {
    guard value <= 1 else { throw Failure.invalid("\(name) is \(value); it must be 0 or 1") }
    return value == 1
}

// MARK: Text and arrays

func text(_ pointer: UnsafePointer<CChar>?, _ name: String) throws -> String {
    guard let string = String(validatingCString: try required(pointer, name)) else {
        throw Failure.invalid("\(name) is not valid UTF-8")
    }
    return string
}

func text(_ pointer: UnsafePointer<CChar>?, bytes: Int, _ name: String) throws -> String {
    if bytes == 0 { return "" }
    let base = UnsafeRawPointer(try required(pointer, name)).assumingMemoryBound(to: UInt8.self)
    guard bytes > 0 else { throw Failure.invalid("the size of \(name) is impossible") }
    guard let string = String(validating: UnsafeBufferPointer(start: base, count: bytes), as: UTF8.self) else {
        throw Failure.invalid("\(name) is not valid UTF-8")
    }
    return string
}

func array<Element>(_ pointer: UnsafePointer<Element>?, _ count: Int, _ name: String) throws -> [Element] {
    if count == 0 { return [] }
    let base = try required(pointer, name)
    guard count > 0, count <= Int(Int32.max) else {
        throw Failure.invalid("the number of elements of \(name) is impossible")
    }
    return Array(UnsafeBufferPointer(start: base, count: count))
}

func messages(_ pointer: UnsafePointer<ftk_chat_message>?, _ count: Int) throws -> [ChatMessage] {
    if count > 0 { try checkStructSize(try required(pointer, "messages"), ftk_chat_message.self, "messages[0]") }
    return try array(pointer, count, "messages").enumerated().map { index, message in
        guard Int(message.struct_size) == MemoryLayout<ftk_chat_message>.stride else {
            throw Failure(.structSize, "struct_size of messages[\(index)] differs from that of messages[0]")
        }
        guard message.reserved == 0 else { throw Failure.invalid("reserved of messages[\(index)] is not 0") }
        return ChatMessage(
            role: try text(message.role, "role of messages[\(index)]"),
            content: try text(message.content, "content of messages[\(index)]"))
    }
}

/// The flags in `flags`, all of which must be known.
func checkFlags(_ flags: UInt32, known: Int) throws {
    guard flags & ~UInt32(known) == 0 else {
        throw Failure.invalid("flags holds unknown bits: \(flags & ~UInt32(known))")
    }
}

// MARK: Results in buffers of the caller

/// Writes tokens by the rule of snprintf.
func write(
    _ tokens: [Int32], to buffer: UnsafeMutablePointer<Int32>?, capacity: Int, count: UnsafeMutablePointer<Int>?
) throws -> ftk_status {
    let count = try required(count, "count")
    if capacity != 0 { _ = try required(buffer, "tokens") }
    guard capacity >= 0 else { throw Failure.invalid("capacity is impossible") }
    count.pointee = tokens.count
    buffer?.update(from: tokens, count: min(tokens.count, capacity))
    return status(tokens.count > capacity ? FTK_TRUNCATED : FTK_OK)
}

/// Writes text and a NUL behind it by the rule of snprintf; a code point may be cut where the buffer ends.
func write(
    _ text: [UInt8], to buffer: UnsafeMutablePointer<CChar>?, capacity: Int, bytes: UnsafeMutablePointer<Int>?
) throws -> ftk_status {
    let bytes = try required(bytes, "bytes")
    guard capacity >= 0 else { throw Failure.invalid("capacity is impossible") }
    let buffer = capacity > 0 ? try required(buffer, "text") : buffer
    bytes.pointee = text.count
    if capacity > 0, let buffer {
        let length = min(text.count, capacity - 1)
        for index in 0..<length { buffer[index] = CChar(bitPattern: text[index]) }
        buffer[length] = 0
    }
    return status(text.count >= capacity ? FTK_TRUNCATED : FTK_OK)
}

/// Copies text into a fixed array of a struct, cut at a code point where it does not fit, and NUL-terminated.
func copy<Tuple>(_ text: String, to field: inout Tuple) {
    withUnsafeMutableBytes(of: &field) { raw in
        var bytes = Array(text.utf8.prefix(raw.count - 1))
        while !bytes.isEmpty, String(validating: bytes, as: UTF8.self) == nil { bytes.removeLast() }
        for (index, byte) in bytes.enumerated() { raw[index] = byte }
        raw[bytes.count] = 0
    }
}

// MARK: Handles

/// An object behind an opaque pointer.
func retainedHandle(_ object: AnyObject) -> OpaquePointer {
    OpaquePointer(Unmanaged.passRetained(object).toOpaque())
}

func object<Object: AnyObject>(_ handle: OpaquePointer?, _: Object.Type, _ name: String) throws -> Object {
    let handle = try required(handle, name)
    return Unmanaged<Object>.fromOpaque(UnsafeRawPointer(handle)).takeUnretainedValue()
}

func releaseHandle<Object: AnyObject>(_ handle: OpaquePointer?, _: Object.Type) {
    if let handle { Unmanaged<Object>.fromOpaque(UnsafeRawPointer(handle)).release() }
}
