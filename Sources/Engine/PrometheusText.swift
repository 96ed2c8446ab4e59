/// Text in Prometheus' exposition format, version 0.0.4: for each metric its HELP and TYPE, then its samples.
struct PrometheusText {
    private static let prefix = "foretoken_"
    private(set) var text = ""

    /// What only grows. Its name ends in `_total`.
    mutating func counter(_ name: String, _ help: String, _ value: Double) {
        head(name, help, "counter")
        sample(name, "", value)
    }

    mutating func counter(_ name: String, _ help: String, label: String, _ values: [(String, Double)]) {
        head(name, help, "counter")
        for (own, value) in values { sample(name, Self.labels([(label, own)]), value) }
    }

    mutating func gauge(_ name: String, _ help: String, _ value: Double) {
        head(name, help, "gauge")
        sample(name, "", value)
    }

    mutating func histogram(_ name: String, _ help: String, _ histogram: Histogram) {
        head(name, help, "histogram")
        samples(name, [], histogram)
    }

    mutating func histogram(_ name: String, _ help: String, label: String, _ histograms: [(String, Histogram)]) {
        head(name, help, "histogram")
        for (own, histogram) in histograms { samples(name, [(label, own)], histogram) }
    }

    private mutating func head(_ name: String, _ help: String, _ type: String) {
        text += "# HELP \(Self.prefix)\(name) \(help)\n# TYPE \(Self.prefix)\(name) \(type)\n"
    }

    private mutating func sample(_ name: String, _ labels: String, _ value: Double) {
        text += "\(Self.prefix)\(name)\(labels) \(Self.number(value))\n"
    }

    private mutating func samples(_ name: String, _ labels: [(String, String)], _ histogram: Histogram) {
        let places = histogram.bounds.map(Self.number) + ["+Inf"]
        for (place, count) in zip(places, histogram.atMost) {
            sample("\(name)_bucket", Self.labels(labels + [("le", place)]), Double(count))
        }
        sample("\(name)_sum", Self.labels(labels), histogram.sum)
        sample("\(name)_count", Self.labels(labels), Double(histogram.count))
    }

    /// The values are names and numbers of our own: nothing in them has to be escaped.
    private static func labels(_ pairs: [(String, String)]) -> String {
        pairs.isEmpty ? "" : "{" + pairs.map { "\($0)=\"\($1)\"" }.joined(separator: ",") + "}"
    }

    private static func number(_ value: Double) -> String {
        Int(exactly: value).map { String($0) } ?? (value.isFinite ? "\(value)" : "NaN")
    }
}
