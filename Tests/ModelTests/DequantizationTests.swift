import Formats
import Kernels
import TestSupport
import Testing

/// Every storage type against values of an outside implementation.
@Suite struct DequantizationTests {
    private static func fixture(_ type: TensorType, _ suffix: String) -> String {
        testFile("ModelTests/Fixtures/quant/\(type.name).\(suffix)")
    }

    @Test(arguments: TensorType.allCases.filter { $0 != .f32 })
    func valuesAreEqual(type: TensorType) throws {
        let blocks = try contents(of: Self.fixture(type, "bin"))
        let truth = try floats(of: Self.fixture(type, "f32"))
        try #require(blocks.count / type.blockBytes * type.blockElements == truth.count && !truth.isEmpty)
        let ours = type.expanded(blocks)
        let wrong = truth.indices.filter { ours[$0] != truth[$0] }
        #expect(wrong.isEmpty, "element \(wrong.first ?? 0)")
    }

    /// Rows need not be aligned, and a block does not depend on its neighbours.
    @Test(arguments: TensorType.allCases.filter { $0 != .f32 })
    func singleBlocksAtAnyAddressGiveTheSameBits(type: TensorType) throws {
        let blocks = try contents(of: Self.fixture(type, "bin"))
        let whole = type.expanded(blocks)
        // Halves and the like: as many as a vector has, and one more.
        let elements = max(type.blockElements, 9)
        let bytes = elements / type.blockElements * type.blockBytes
        for index in 0..<100 {
            let block = Array(blocks[index * bytes..<(index + 1) * bytes])
            for shift in [1, 2, 3] {
                let memory = [UInt8](repeating: 0xFF, count: shift) + block
                var out = [Float](repeating: 77, count: elements + 1)
                memory.withUnsafeBytes { raw in
                    guard let base = raw.baseAddress else { return }
                    dequantize(type.kernelFormat, base + shift, count: elements, into: &out)
                }
                #expect(out[elements] == 77)
                let expected = whole[index * elements..<(index + 1) * elements]
                #expect(out[..<elements].map(\.bitPattern) == expected.map(\.bitPattern), "block \(index)")
            }
        }
    }
}
