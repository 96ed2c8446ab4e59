import Scheduling
import Testing

@Suite struct StepStretchTests {
    @Test func stepsWithDraftsAreCompared() {
        var stretch = StepStretch()
        #expect(stretch.value == 1)
        stretch.observe(time: 30, plain: 10)
        #expect(stretch.value == 1.25)
        for _ in 0..<200 { stretch.observe(time: 30, plain: 10) }
        #expect(abs(stretch.value - 3) < 1e-6)
        for _ in 0..<200 { stretch.observePlain() }
        #expect(abs(stretch.value - 1) < 1e-6)
    }

    @Test func noiseIsNoStretch() {
        var stretch = StepStretch()
        for _ in 0..<100 {
            stretch.observe(time: 12, plain: 10)
            stretch.observe(time: 8, plain: 10)
        }
        #expect(stretch.value < 1.03)
    }

    @Test func oddTimesDoLittle() {
        var stretch = StepStretch()
        for time in [Double.nan, .infinity] { stretch.observe(time: time, plain: 10) }
        for plain in [0, -1, Double.nan] { stretch.observe(time: 30, plain: plain) }
        #expect(stretch.value == 1)
        stretch.observe(time: 1e300, plain: 10)
        #expect(stretch.value == 1.375)
        for time in [-1e300, -1, 0, 5] { stretch.observe(time: time, plain: 10) }
        #expect(stretch.value == 1)
    }
}
