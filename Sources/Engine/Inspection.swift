/// What the requests that run hold between two steps, for checks of consistency.
package struct EngineInspection: Sendable {
    package struct Request: Sendable {
        package let id: UInt64
        /// Tokens of prompt and output.
        package let committed: Int
        /// How many of them the host has, prompt included.
        package let published: Int
        /// How many of them are in the target's KV cache.
        package let computed: Int
        /// The length at which the sequence ends.
        package let limit: Int
        package let blocks: [Int32]
    }
    package let requests: [Request]
    package let totalBlocks: Int
    package let usedBlocks: Int
    /// What is wrong with the accounting of blocks.
    package let problems: [String]
}
