/// One time of a profile, in microseconds.
package struct PassSample: Sendable {
    /// Tokens of all requests together.
    package var context: Int
    package var rows: Int
    package var time: Double

    package init(context: Int, rows: Int, time: Double) {
        self.context = context
        self.rows = rows
        self.time = time
    }
}

/// The time of a pass as smartspec and turbospec model it: a polynomial in context and rows without negative
/// coefficients, fitted to a profile by least squares.
package struct FittedPassModel: Sendable, Equatable {
    package enum Shape: Sendable, Equatable {
        /// c + a·context + b·rows.
        case linear
        /// All terms up to the second degree.
        case quadratic

        var terms: Int { self == .linear ? 3 : 6 }
    }

    package let shape: Shape
    /// Of 1, context and rows; of a quadratic model also of rows², context·rows and context².
    package let coefficients: [Double]

    package init(_ shape: Shape, fitting samples: [PassSample]) {
        self.shape = shape
        coefficients = nonNegativeLeastSquares(
            samples.map { Self.terms(context: $0.context, rows: $0.rows, shape) }, samples.map(\.time),
            columns: shape.terms)
    }

    /// The shape that explains the samples that were held out better; the linear one if both do equally well. Every
    /// fifth sample is held out, and the chosen shape is fitted to all.
    package init(choosing shapes: [Shape], fitting samples: [PassSample]) {
        let fold = 5
        let known = samples.indices.filter { $0 % fold != fold - 1 }.map { samples[$0] }
        let heldOut = samples.indices.filter { $0 % fold == fold - 1 }.map { samples[$0] }
        var (best, bestScore) = (Shape.linear, -Double.infinity)
        for shape in shapes {
            let score = Self(shape, fitting: known).determination(heldOut)
            // What rounding alone decides is no difference.
            if score > bestScore + 1e-9 { (best, bestScore) = (shape, score) }
        }
        self.init(best, fitting: samples)
    }

    package func time(context: Int, rows: Int) -> Double {
        zip(coefficients, Self.terms(context: context, rows: rows, shape)).reduce(0) { $0 + $1.0 * $1.1 }
    }

    /// R²: the share of the variance that the model explains; 0 without variance.
    package func determination(_ samples: [PassSample]) -> Double {
        guard !samples.isEmpty else { return 0 }
        let mean = samples.reduce(0) { $0 + $1.time } / Double(samples.count)
        let (unexplained, all) = samples.reduce((0.0, 0.0)) { sums, sample in
            let (error, offset) = (sample.time - time(context: sample.context, rows: sample.rows), sample.time - mean)
            return (sums.0 + error * error, sums.1 + offset * offset)
        }
        return all > 0 ? 1 - unexplained / all : 0
    }

    private static func terms(context: Int, rows: Int, _ shape: Shape) -> [Double] {
        let (context, rows) = (Double(context), Double(rows))
        let linear = [1, context, rows]
        return shape == .linear ? linear : linear + [rows * rows, context * rows, context * context]
    }
}
