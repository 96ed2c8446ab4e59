/// The best rate that was found last for each number of requests.
struct LatestRates: Sendable {
    /// 0: none was found.
    private var rates: [Double] = []

    subscript(requests: Int) -> Double? {
        get { requests < rates.count && rates[requests] > 0 ? rates[requests] : nil }
        set {
            while rates.count <= requests { rates.append(0) }
            rates[requests] = newValue ?? 0
        }
    }
}
