// swift-tools-version: 6.2
// Foretoken: a C-ABI library for fast speculative text generation on CPUs.
import PackageDescription

let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
]
/// Strict memory safety is on wherever raw memory is not the module's very subject.
let safe: [SwiftSetting] = strict + [.strictMemorySafety()]

let package = Package(
    name: "foretoken",
    products: [],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2")
    ],
    targets: [
        .systemLibrary(name: "CForetoken", path: "include"),
        .target(name: "Kernels", swiftSettings: strict),
        .target(name: "Formats", swiftSettings: safe),
        .target(name: "TestSupport", dependencies: ["Formats"], path: "Tests/TestSupport", swiftSettings: strict),
        .testTarget(
            name: "FormatsTests", dependencies: ["Formats", "TestSupport"],
            resources: [.copy("Fixtures")], swiftSettings: strict),
    ]
)
