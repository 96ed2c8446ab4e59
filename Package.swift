// swift-tools-version: 6.2
// Foretoken: a C-ABI library for fast speculative text generation on CPUs.
import PackageDescription

let swift6: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
]
/// No Swift runtime has to be installed where the product runs. lld keeps local symbols out of the dynamic table.
let selfContained = ["-static-stdlib", "-use-ld=lld", "-Xlinker", "--gc-sections"]
/// Strict memory safety is on wherever raw memory is not the module's very subject.
let safe: [SwiftSetting] = swift6 + [.strictMemorySafety()]

/// The kernels of one instruction set: the same sources, compiled with other flags. They touch raw pointers and vectors
/// only, so that no shared symbol holds code that another processor could not run.
func kernels(_ name: String, _ flags: [String]) -> Target {
    let options = flags.flatMap { ["-Xcc", $0] }
    return .target(
        name: name, dependencies: ["CSIMD"],
        swiftSettings: swift6 + (options.isEmpty ? [] : [.unsafeFlags(options)]))
}
let avx2 = ["-mavx2", "-mfma", "-mf16c"]
let avx512 =
    avx2 + [
        "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx512vnni", "-mprefer-vector-width=512",
    ]

let package = Package(
    name: "foretoken",
    products: [
        .library(name: "foretoken", type: .dynamic, targets: ["ForetokenABI"]),
        .executable(name: "ftk", targets: ["ftk"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2")
    ],
    targets: [
        .systemLibrary(name: "CForetoken", path: "include"),
        .systemLibrary(name: "CSystem"),
        .systemLibrary(name: "CSIMD"),
        kernels("KernelsPortable", []),
        kernels("KernelsAVX2", avx2),
        kernels("KernelsAVXVNNI", avx2 + ["-mavxvnni"]),
        kernels("KernelsAVX512", avx512),
        kernels("KernelsAVX512BF16", avx512 + ["-mavx512bf16"]),
        .target(
            name: "Kernels",
            dependencies: [
                "CSystem", "CSIMD", "KernelsPortable", "KernelsAVX2", "KernelsAVXVNNI", "KernelsAVX512",
                "KernelsAVX512BF16",
            ],
            swiftSettings: swift6),
        .target(name: "Formats", swiftSettings: safe),
        .target(name: "Model", dependencies: ["Kernels", "Formats"], swiftSettings: swift6),
        .target(name: "Speculation", dependencies: ["Kernels", "Formats"], swiftSettings: safe),
        .target(name: "Scheduling", swiftSettings: safe),
        .target(name: "Simulation", dependencies: ["Formats", "Scheduling"], swiftSettings: safe),
        .target(
            name: "Engine", dependencies: ["CSystem", "Kernels", "Formats", "Model", "Speculation", "Scheduling"],
            swiftSettings: safe),
        .target(
            name: "ForetokenABI",
            dependencies: ["CForetoken", "Kernels", "Formats", "Model", "Speculation", "Scheduling", "Engine"],
            exclude: ["exports.map"], swiftSettings: swift6,
            linkerSettings: [
                .unsafeFlags(
                    selfContained + [
                        "-Xlinker", "-soname=libforetoken.so.0",
                        // A thread's last error is freed when the thread ends, perhaps after a dlclose.
                        "-Xlinker", "-z", "-Xlinker", "nodelete",
                        // No symbol but the API's.
                        "-Xlinker", "--version-script=\(Context.packageDirectory)/Sources/ForetokenABI/exports.map",
                    ])
            ]),
        .executableTarget(
            name: "ftk",
            dependencies: [
                "Kernels", "Formats", "Model", "Speculation", "Scheduling", "Simulation", "Engine",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ], swiftSettings: safe,
            linkerSettings: [
                .unsafeFlags(selfContained + ["-l_FoundationCollections", "-l_FoundationCShims"])
            ]),
        .executableTarget(
            name: "ftk-fuzz", dependencies: ["Kernels", "Formats", "Model", "Speculation", "Scheduling", "Engine"],
            path: "Tests/Fuzz",
            swiftSettings: swift6),
        .target(
            name: "TestSupport", dependencies: ["Kernels", "Formats", "Model", "Speculation", "Scheduling", "Engine"],
            path: "Tests/TestSupport", swiftSettings: swift6),
        .target(name: "AllocationCounter", path: "Tests/AllocationCounter"),
        .testTarget(name: "KernelsTests", dependencies: ["Kernels", "Formats", "TestSupport"], swiftSettings: swift6),
        .testTarget(
            name: "ModelTests",
            dependencies: [
                "Kernels", "Formats", "Model", "Speculation", "Scheduling", "Engine", "TestSupport",
                "AllocationCounter",
            ],
            exclude: ["Fixtures"], swiftSettings: swift6),
        .testTarget(
            name: "FormatsTests", dependencies: ["Formats", "TestSupport"],
            resources: [.copy("Fixtures")], swiftSettings: swift6),
        .testTarget(
            name: "SpeculationTests", dependencies: ["Kernels", "Formats", "Speculation", "TestSupport"],
            exclude: ["Golden"], swiftSettings: swift6),
        .testTarget(name: "SchedulingTests", dependencies: ["Scheduling", "TestSupport"], swiftSettings: swift6),
        .testTarget(
            name: "SimulationTests", dependencies: ["Formats", "Scheduling", "Simulation", "TestSupport"],
            swiftSettings: swift6),
        .testTarget(
            name: "EngineTests",
            dependencies: ["Kernels", "Formats", "Model", "Speculation", "Scheduling", "Engine", "TestSupport"],
            swiftSettings: swift6),
    ]
)
