import Engine
import Formats
import Kernels
import Model
import Scheduling
import Speculation
import TestSupport
import Testing

/// The one small model with trained weights: the text that other implementations give for it.
@Suite struct StoriesTests {
    private static let folder = "models/stories260k"
    private static var isHere: Bool { sharedTestData(folder + "/stories260K-f32.gguf") != nil }

    /// The text of `count` greedy tokens from BOS.
    private func greedyText(_ count: Int, _ change: (inout EngineOptions) -> Void) throws -> String {
        let path = try #require(sharedTestData(Self.folder + "/stories260K-f32.gguf"))
        let model = try LanguageModel(path: path, threads: 2)
        var options = EngineOptions()
        options.kvFormat = .f32
        options.threads = 2
        change(&options)
        let engine = try InferenceEngine(target: model, options: options)
        defer { engine.stop() }
        var request = RequestOptions()
        request.prompt = .tokens([try #require(model.tokenizer.bos)])
        request.maxTokens = count
        request.sampling.temperature = 0
        request.ignoresEndOfGeneration = true
        _ = try engine.submit(request)
        var text: [UInt8] = []
        var finish: Finish?
        while finish == nil {
            #expect(try engine.step())
            for event in engine.poll(timeout: 0) {
                text += event.text
                finish = event.finish ?? finish
            }
        }
        #expect(finish?.reason == .length)
        #expect(finish?.statistics.completionTokens == count)
        return String(decoding: text, as: UTF8.self)
    }

    @Test(.enabled("FTK_TEST_DATA must name the folder of shared test data") { isHere })
    func greedyTextIsAsExpected() throws {
        let expected = try #require(sharedTestData(Self.folder + "/expected_greedy_200.txt"))
        let text = String(decoding: try contents(of: expected), as: UTF8.self)
        #expect(try greedyText(200) { _ in } == text)
        // Neither speculation nor the number of threads changes what is generated.
        let speculative = try greedyText(200) {
            $0.policy = .static
            $0.threads = 1
        }
        #expect(speculative == text)
    }
}
