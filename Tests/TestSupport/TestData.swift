import Glibc

/// The folder of shared test data (`FTK_TEST_DATA`), or nil where it is not set.
package func sharedTestData(_ relative: String) -> String? {
    guard let root = getenv("FTK_TEST_DATA") else { return nil }
    let path = String(cString: root) + "/" + relative
    return access(path, R_OK) == 0 ? path : nil
}
