import Formats
import TestSupport
import Testing

@Suite struct GGUFTests {
    @Test func placeholder() throws {}
}
