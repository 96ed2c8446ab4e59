import Glibc
import Kernels
import Synchronization
import TestSupport
import Testing

/// A row of counters that threads may share.
private final class Counters: @unchecked Sendable {
    private let base: UnsafeMutablePointer<Atomic<Int>>
    private let count: Int

    init(_ count: Int) {
        self.count = count
        base = .allocate(capacity: count)
        for index in 0..<count { (base + index).initialize(to: Atomic(0)) }
    }

    deinit {
        base.deinitialize(count: count)
        base.deallocate()
    }

    /// The value before.
    @discardableResult
    func add(_ value: Int, at index: Int) -> Int {
        base[index].add(value, ordering: .sequentiallyConsistent).oldValue
    }

    var values: [Int] { (0..<count).map { base[$0].load(ordering: .sequentiallyConsistent) } }
}

@Suite struct ThreadPoolTests {
    @Test(arguments: [1, 2, 3, 4, 7, 16])
    func everyItemRunsOnceAndThreadsAreNotShared(threads: Int) {
        let pool = ThreadPool(threads: threads)
        #expect(pool.threads == threads)
        for count in [0, 1, 2, 3, threads, threads + 1, 17, 100, 1000] {
            let items = Counters(count)
            let busy = Counters(threads)
            let wrong = Counters(1)
            pool.run(count) { thread, item in
                guard (0..<threads).contains(thread), (0..<count).contains(item) else {
                    wrong.add(1, at: 0)
                    return
                }
                // Scratch memory is by thread: no two items may use the same one at a time.
                if busy.add(1, at: thread) != 0 { wrong.add(1, at: 0) }
                items.add(1, at: item)
                busy.add(-1, at: thread)
            }
            #expect(wrong.values == [0])
            #expect(items.values == [Int](repeating: 1, count: count))
        }
    }

    @Test func thousandsOfRunsInARow() {
        let pool = ThreadPool(threads: 3)
        let sums = Counters(8)
        for run in 1...20_000 {
            pool.run(run % 9) { _, item in sums.add(run, at: item) }
            // What the items wrote is visible as soon as the run is over.
            if run % 1000 == 0 {
                let expected = (0..<8).map { item in (1...run).filter { $0 % 9 > item }.reduce(0, +) }
                #expect(sums.values == expected)
            }
        }
    }

    @Test func runsSeePlainMemoryOfTheCallerAndBack() {
        let pool = ThreadPool(threads: 4)
        let memory = UnsafeMutablePointer<Int>.allocate(capacity: 64)
        defer { memory.deallocate() }
        memory.initialize(repeating: 0, count: 64)
        var expected = 0
        var unseen = 0
        for run in 0..<3000 {
            for index in 0..<64 { memory[index] &+= run }
            pool.run(64) { _, item in memory[item] &*= 31 }
            expected = (expected &+ run) &* 31
            for index in 0..<64 where memory[index] != expected { unseen += 1 }
        }
        #expect(unseen == 0)
    }

    @Test func twoPoolsAtOnce() {
        let totals = Counters(2)
        let handles = (0..<2).compactMap { index in
            startThread {
                let pool = ThreadPool(threads: 2)
                for _ in 0..<3000 { pool.run(5) { _, item in totals.add(item, at: index) } }
            }
        }
        #expect(handles.count == 2)
        for handle in handles { pthread_join(handle, nil) }
        #expect(totals.values == [30_000, 30_000])
    }

    /// A pool may use another one inside an item.
    @Test func poolWithinAPool() {
        let outer = ThreadPool(threads: 2)
        let inner = (0..<2).map { _ in ThreadPool(threads: 2) }
        let total = Counters(1)
        outer.run(100) { thread, _ in inner[thread].run(10) { _, item in total.add(item, at: 0) } }
        #expect(total.values == [4500])
    }

    @Test func poolsEndWhileTheirThreadsSpinOrSleep() {
        for round in 0..<200 {
            let pool = ThreadPool(threads: 4)
            let total = Counters(1)
            if round % 2 == 0 { pool.run(round) { _, _ in total.add(1, at: 0) } }
            // Some rounds give the threads time to go to sleep.
            if round % 5 == 0 { for _ in 0..<200 { sched_yield() } }
            #expect(total.values == [round % 2 == 0 ? round : 0])
        }
    }

    @Test func senselessThreadCountsMeanOne() {
        for threads in [1, 0, -3] {
            let pool = ThreadPool(threads: threads)
            #expect(pool.threads == 1)
            let caller = pthread_self()
            let elsewhere = Counters(1)
            pool.run(50) { thread, _ in
                if thread != 0 || pthread_equal(caller, pthread_self()) == 0 { elsewhere.add(1, at: 0) }
            }
            #expect(elsewhere.values == [0])
        }
    }

    /// In a process of its own, where no other test starts threads; the system may, so that only those are counted that
    /// have the name of the thread that started them.
    @Test func aPoolStartsOneThreadFewerThanItHas() async {
        await #expect(processExitsWith: .success) {
            let name = "starts-a-pool"
            guard let file = fopen("/proc/thread-self/comm", "w"), fputs(name, file) >= 0, fclose(file) == 0 else {
                exit(EXIT_FAILURE)
            }
            func taskCount() -> Int {
                guard let directory = opendir("/proc/self/task") else { return -1 }
                defer { closedir(directory) }
                var count = 0
                while let entry = readdir(directory) {
                    let task = withUnsafePointer(to: &entry.pointee.d_name) {
                        $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
                    }
                    if textFile("/proc/self/task/\(task)/comm") == name + "\n" { count += 1 }
                }
                return count
            }
            let before = taskCount()
            let one = ThreadPool(threads: 1)
            one.run(10) { _, _ in }
            let withOne = taskCount()
            let four = ThreadPool(threads: 4)
            four.run(10) { _, _ in }
            let withFour = taskCount()
            guard before == 1, withOne == before, withFour == before + 3, one.threads == 1, four.threads == 4 else {
                exit(EXIT_FAILURE)
            }
        }
    }

    @Test func processorsAreCounted() {
        let count = availableProcessors()
        #expect(count >= 1)
        #expect(count <= max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))))
    }

    /// Threads of pools leave the signals to the host.
    @Test func startedThreadsBlockSignals() throws {
        let blocked = Counters(1)
        let handle = try #require(
            startThread {
                var mask = sigset_t()
                pthread_sigmask(SIG_SETMASK, nil, &mask)
                let all = [SIGINT, SIGTERM, SIGHUP, SIGUSR1].allSatisfy { sigismember(&mask, $0) == 1 }
                blocked.add(all ? 1 : 0, at: 0)
            })
        pthread_join(handle, nil)
        #expect(blocked.values == [1])
    }
}
