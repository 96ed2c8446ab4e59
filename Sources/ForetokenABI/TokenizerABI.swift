public import CForetoken
import Engine
import Formats
import Model

@_cdecl("ftk_tokenizer_open") @implementation
public func ftk_tokenizer_open(
    _ path: UnsafePointer<CChar>!, _ tokenizer: UnsafeMutablePointer<OpaquePointer?>!
) -> ftk_status {
    report {
        let place = try required(tokenizer, "tokenizer")
        place.pointee = nil
        place.pointee = retainedHandle(try Tokenizer(path: try text(path, "path")))
        return status(FTK_OK)
    }
}

@_cdecl("ftk_model_get_tokenizer") @implementation
public func ftk_model_get_tokenizer(
    _ model: OpaquePointer!, _ tokenizer: UnsafeMutablePointer<OpaquePointer?>!
) -> ftk_status {
    report {
        let place = try required(tokenizer, "tokenizer")
        place.pointee = nil
        place.pointee = retainedHandle(try object(model, LanguageModel.self, "model").tokenizer)
        return status(FTK_OK)
    }
}

@_cdecl("ftk_tokenizer_retain") @implementation
public func ftk_tokenizer_retain(_ tokenizer: OpaquePointer!) -> ftk_status {
    report {
        _ = retainedHandle(try object(tokenizer, Tokenizer.self, "tokenizer"))
        return status(FTK_OK)
    }
}

@_cdecl("ftk_tokenizer_release") @implementation
public func ftk_tokenizer_release(_ tokenizer: OpaquePointer!) { releaseHandle(tokenizer, Tokenizer.self) }

@_cdecl("ftk_tokenizer_get_info") @implementation
public func ftk_tokenizer_get_info(
    _ tokenizer: OpaquePointer!, _ info: UnsafeMutablePointer<ftk_tokenizer_info>!
) -> ftk_status {
    report {
        let out = try output(info, "info")
        let tokenizer = try object(tokenizer, Tokenizer.self, "tokenizer")
        out.pointee.vocabulary_size = UInt32(tokenizer.vocabularySize)
        out.pointee.bos_token = tokenizer.bos ?? FTK_NO_TOKEN
        out.pointee.eos_token = tokenizer.eos ?? FTK_NO_TOKEN
        out.pointee.unknown_token = tokenizer.unknown ?? FTK_NO_TOKEN
        out.pointee.adds_bos = tokenizer.addsBOS ? 1 : 0
        out.pointee.adds_eos = tokenizer.addsEOS ? 1 : 0
        out.pointee.has_chat_template = tokenizer.chatTemplate == nil ? 0 : 1
        return status(FTK_OK)
    }
}

@_cdecl("ftk_tokenizer_encode") @implementation
public func ftk_tokenizer_encode(
    _ tokenizer: OpaquePointer!, _ text: UnsafePointer<CChar>!, _ text_bytes: Int, _ flags: UInt32,
    _ tokens: UnsafeMutablePointer<Int32>!, _ capacity: Int, _ count: UnsafeMutablePointer<Int>!
) -> ftk_status {
    report {
        try required(count, "count").pointee = 0
        let tokenizer = try object(tokenizer, Tokenizer.self, "tokenizer")
        _ = try required(text, "text")
        try checkFlags(flags, known: FTK_ENCODE_ADD_SPECIAL | FTK_ENCODE_PARSE_SPECIAL)
        let ids = try tokenizer.encode(
            ForetokenABI.text(text, bytes: text_bytes, "text"),
            addSpecial: flags & UInt32(FTK_ENCODE_ADD_SPECIAL) != 0,
            parseSpecial: flags & UInt32(FTK_ENCODE_PARSE_SPECIAL) != 0)
        return try write(ids, to: tokens, capacity: capacity, count: count)
    }
}

@_cdecl("ftk_tokenizer_decode") @implementation
public func ftk_tokenizer_decode(
    _ tokenizer: OpaquePointer!, _ tokens: UnsafePointer<Int32>!, _ count: Int, _ flags: UInt32,
    _ text: UnsafeMutablePointer<CChar>!, _ capacity: Int, _ bytes: UnsafeMutablePointer<Int>!
) -> ftk_status {
    report {
        try required(bytes, "bytes").pointee = 0
        let tokenizer = try object(tokenizer, Tokenizer.self, "tokenizer")
        _ = try required(tokens, "tokens")
        try checkFlags(flags, known: FTK_DECODE_SKIP_SPECIAL)
        let ids = try array(tokens, count, "tokens")
        for id in ids { try checkToken(id, tokenizer) }
        let raw = tokenizer.decode(ids, skipSpecial: flags & UInt32(FTK_DECODE_SKIP_SPECIAL) != 0)
        return try write(Array(String(decoding: raw, as: UTF8.self).utf8), to: text, capacity: capacity, bytes: bytes)
    }
}

private func checkToken(_ token: Int32, _ tokenizer: Tokenizer) throws {
    guard token >= 0, Int(token) < tokenizer.vocabularySize else {
        throw Failure.invalid("token \(token) is none of the tokens 0 to \(tokenizer.vocabularySize - 1)")
    }
}

@_cdecl("ftk_tokenizer_token_text") @implementation
public func ftk_tokenizer_token_text(
    _ tokenizer: OpaquePointer!, _ token: Int32, _ text: UnsafeMutablePointer<CChar>!, _ capacity: Int,
    _ bytes: UnsafeMutablePointer<Int>!
) -> ftk_status {
    report {
        try required(bytes, "bytes").pointee = 0
        let tokenizer = try object(tokenizer, Tokenizer.self, "tokenizer")
        try checkToken(token, tokenizer)
        return try write(tokenizer.storedText(token), to: text, capacity: capacity, bytes: bytes)
    }
}

// MARK: Chat

@_cdecl("ftk_tokenizer_apply_chat_template") @implementation
public func ftk_tokenizer_apply_chat_template(
    _ tokenizer: OpaquePointer!, _ chat_template: UnsafePointer<CChar>!, _ messages: UnsafePointer<ftk_chat_message>!,
    _ message_count: Int, _ flags: UInt32, _ text: UnsafeMutablePointer<CChar>!, _ capacity: Int,
    _ bytes: UnsafeMutablePointer<Int>!
) -> ftk_status {
    report {
        try required(bytes, "bytes").pointee = 0
        let tokenizer = try object(tokenizer, Tokenizer.self, "tokenizer")
        _ = try required(messages, "messages")
        try checkFlags(flags, known: FTK_CHAT_ADD_GENERATION_PROMPT)
        let segments = try tokenizer.renderChat(
            ForetokenABI.messages(messages, message_count),
            template: try chat_template.map { try ForetokenABI.text($0, "chat_template") },
            addGenerationPrompt: flags & UInt32(FTK_CHAT_ADD_GENERATION_PROMPT) != 0)
        return try write(segments.flatMap { Array($0.text.utf8) }, to: text, capacity: capacity, bytes: bytes)
    }
}

@_cdecl("ftk_tokenizer_encode_chat") @implementation
public func ftk_tokenizer_encode_chat(
    _ tokenizer: OpaquePointer!, _ chat_template: UnsafePointer<CChar>!, _ messages: UnsafePointer<ftk_chat_message>!,
    _ message_count: Int, _ flags: UInt32, _ tokens: UnsafeMutablePointer<Int32>!, _ capacity: Int,
    _ count: UnsafeMutablePointer<Int>!
) -> ftk_status {
    report {
        try required(count, "count").pointee = 0
        let tokenizer = try object(tokenizer, Tokenizer.self, "tokenizer")
        _ = try required(messages, "messages")
        try checkFlags(flags, known: FTK_CHAT_ADD_GENERATION_PROMPT)
        let ids = try tokenizer.encodeChat(
            ForetokenABI.messages(messages, message_count),
            template: try chat_template.map { try ForetokenABI.text($0, "chat_template") },
            addGenerationPrompt: flags & UInt32(FTK_CHAT_ADD_GENERATION_PROMPT) != 0)
        return try write(ids, to: tokens, capacity: capacity, count: count)
    }
}

// MARK: Streams

private final class DecoderHandle {
    let tokenizer: Tokenizer
    let skipsSpecial: Bool
    var decoder: StreamDecoder

    init(_ tokenizer: Tokenizer, skipsSpecial: Bool) {
        self.tokenizer = tokenizer
        self.skipsSpecial = skipsSpecial
        decoder = StreamDecoder(tokenizer, continuesText: false, skipsSpecial: skipsSpecial)
    }
}

@_cdecl("ftk_decoder_create") @implementation
public func ftk_decoder_create(
    _ tokenizer: OpaquePointer!, _ flags: UInt32, _ decoder: UnsafeMutablePointer<OpaquePointer?>!
) -> ftk_status {
    report {
        let place = try required(decoder, "decoder")
        place.pointee = nil
        let tokenizer = try object(tokenizer, Tokenizer.self, "tokenizer")
        try checkFlags(flags, known: FTK_DECODE_SKIP_SPECIAL)
        place.pointee = retainedHandle(
            DecoderHandle(tokenizer, skipsSpecial: flags & UInt32(FTK_DECODE_SKIP_SPECIAL) != 0))
        return status(FTK_OK)
    }
}

@_cdecl("ftk_decoder_push") @implementation
public func ftk_decoder_push(
    _ decoder: OpaquePointer!, _ token: Int32, _ text: UnsafeMutablePointer<CChar>!, _ capacity: Int,
    _ bytes: UnsafeMutablePointer<Int>!
) -> ftk_status {
    report {
        try required(bytes, "bytes").pointee = 0
        let handle = try object(decoder, DecoderHandle.self, "decoder")
        try checkToken(token, handle.tokenizer)
        var next = handle.decoder
        let result = try write(Array(next.push(token).utf8), to: text, capacity: capacity, bytes: bytes)
        if result == status(FTK_OK) { handle.decoder = next }
        return result
    }
}

@_cdecl("ftk_decoder_finish") @implementation
public func ftk_decoder_finish(
    _ decoder: OpaquePointer!, _ text: UnsafeMutablePointer<CChar>!, _ capacity: Int,
    _ bytes: UnsafeMutablePointer<Int>!
) -> ftk_status {
    report {
        try required(bytes, "bytes").pointee = 0
        let handle = try object(decoder, DecoderHandle.self, "decoder")
        var next = handle.decoder
        let result = try write(Array(next.finish().utf8), to: text, capacity: capacity, bytes: bytes)
        if result == status(FTK_OK) {
            handle.decoder = StreamDecoder(handle.tokenizer, continuesText: false, skipsSpecial: handle.skipsSpecial)
        }
        return result
    }
}

@_cdecl("ftk_decoder_destroy") @implementation
public func ftk_decoder_destroy(_ decoder: OpaquePointer!) { releaseHandle(decoder, DecoderHandle.self) }
