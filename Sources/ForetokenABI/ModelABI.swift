public import CForetoken
import Formats
import Kernels
import Model

@_cdecl("ftk_model_options_init_sized") @implementation
public func ftk_model_options_init_sized(
    _ options: UnsafeMutablePointer<ftk_model_options>!, _ struct_size: UInt32
) -> ftk_status {
    initialize(options, struct_size) { _ in }
}

@_cdecl("ftk_model_open") @implementation
public func ftk_model_open(
    _ path: UnsafePointer<CChar>!, _ options: UnsafePointer<ftk_model_options>!,
    _ model: UnsafeMutablePointer<OpaquePointer?>!
) -> ftk_status {
    report {
        let place = try required(model, "model")
        place.pointee = nil
        let path = try text(path, "path")
        let given = try loadOptions(options)
        let loaded = try LanguageModel(
            path: path, threads: given.threads, progress: given.progress)
        place.pointee = retainedHandle(loaded)
        return status(FTK_OK)
    }
}

private func loadOptions(
    _ options: UnsafePointer<ftk_model_options>?
) throws -> (threads: Int, progress: LoadProgress?) {
    let given = try options.map { try input($0, "options") }
    let threads = given?.threads ?? 0
    guard threads <= 512 else {
        throw Failure.invalid("threads is \(threads); it must be from 0 (automatic) to 512")
    }
    var progress: LoadProgress?
    if let given, let callback = given.progress {
        progress = { callback(UInt64($0), UInt64($1), given.progress_user_data) == 0 }
    }
    return (threads > 0 ? Int(threads) : availableProcessors(), progress)
}

@_cdecl("ftk_model_make_draft") @implementation
public func ftk_model_make_draft(
    _ model: OpaquePointer!, _ options: UnsafePointer<ftk_model_options>!,
    _ draft: UnsafeMutablePointer<OpaquePointer?>!
) -> ftk_status {
    report {
        let place = try required(draft, "draft")
        place.pointee = nil
        let model = try object(model, LanguageModel.self, "model")
        let given = try loadOptions(options)
        place.pointee = retainedHandle(try model.makeDraft(threads: given.threads, progress: given.progress))
        return status(FTK_OK)
    }
}

@_cdecl("ftk_model_retain") @implementation
public func ftk_model_retain(_ model: OpaquePointer!) -> ftk_status {
    report {
        _ = retainedHandle(try object(model, LanguageModel.self, "model"))
        return status(FTK_OK)
    }
}

@_cdecl("ftk_model_release") @implementation
public func ftk_model_release(_ model: OpaquePointer!) { releaseHandle(model, LanguageModel.self) }

@_cdecl("ftk_model_get_info") @implementation
public func ftk_model_get_info(_ model: OpaquePointer!, _ info: UnsafeMutablePointer<ftk_model_info>!) -> ftk_status {
    report {
        let out = try output(info, "info")
        let model = try object(model, LanguageModel.self, "model")
        let shape = model.configuration
        out.pointee.vocabulary_size = UInt32(shape.vocabularySize)
        out.pointee.layers = UInt32(shape.layers)
        out.pointee.embedding_length = UInt32(shape.embeddingLength)
        out.pointee.attention_heads = UInt32(shape.heads)
        out.pointee.kv_heads = UInt32(shape.kvHeads)
        out.pointee.head_dimension = UInt32(shape.headDimension)
        out.pointee.feed_forward_length = UInt32(shape.feedForwardLength)
        out.pointee.context_length = UInt32(shape.contextLength)
        out.pointee.has_chat_template = model.tokenizer.chatTemplate == nil ? 0 : 1
        out.pointee.parameters = UInt64(model.parameters)
        out.pointee.weights_bytes = UInt64(model.weightsBytes)
        copy(shape.architecture.rawValue, to: &out.pointee.architecture)
        copy(model.quantization, to: &out.pointee.quantization)
        copy(model.name, to: &out.pointee.name)
        return status(FTK_OK)
    }
}
