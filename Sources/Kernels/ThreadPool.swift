import CSystem
package import Glibc
import Synchronization

/// Work that all threads of a pool do together: each calls `work` once, with what it needs to share loops.
package protocol TeamWork: AnyObject {
    func work(_ member: TeamMember)
}

/// A fixed team of threads. The caller is one of the team, so a pool of one thread starts none. Threads that wait spin
/// briefly, then sleep.
///
/// A pass of a model is one piece of work: its threads run the same code side by side and meet at the end of every
/// loop, so that nothing is allocated or locked between two loops.
package final class ThreadPool: @unchecked Sendable {
    package let threads: Int
    private let team: Team
    private let caller: TeamMember
    private var handles: [pthread_t] = []

    /// `threads` is at least 1; fewer are used when the system refuses to start as many.
    package init(threads: Int) {
        let team = Team(most: max(threads, 1))
        var started: [pthread_t] = []
        for index in 1..<max(threads, 1) {
            guard let handle = startThread({ team.serve(TeamMember(team, thread: index)) }) else { break }
            started.append(handle)
        }
        self.team = team
        handles = started
        self.threads = started.count + 1
        caller = TeamMember(team, thread: 0)
        team.threads = self.threads
    }

    deinit {
        team.stop()
        for handle in handles { pthread_join(handle, nil) }
    }

    /// Lets every thread do `work`, and returns when all have. Not re-entrant; one caller at a time. Allocates nothing.
    package func run(_ work: any TeamWork) {
        if threads == 1 {
            work.work(caller)
        } else {
            team.run(work, caller)
        }
    }

    /// Calls `body(thread, item)` once for each item in 0 ..< count, on any thread of the team, and returns when all
    /// are done. Items must not depend on each other.
    package func run(_ count: Int, _ body: (_ thread: Int, _ item: Int) -> Void) {
        if threads == 1 || count <= 1 {
            for item in 0..<count { body(0, item) }
        } else {
            withoutActuallyEscaping(body) { run(Loop(count: count, body: $0)) }
        }
    }

    private final class Loop: TeamWork {
        let count: Int
        let body: (Int, Int) -> Void

        init(count: Int, body: @escaping (Int, Int) -> Void) { (self.count, self.body) = (count, body) }

        func work(_ member: TeamMember) { member.forEach(count) { body(member.thread, $0) } }
    }
}

/// One thread's place in the team while it works.
package final class TeamMember {
    package let thread: Int
    private let team: Team
    /// Loops so far; the same for all members, since they run the same code.
    private var loop: UInt32 = 0

    fileprivate init(_ team: Team, thread: Int) {
        self.team = team
        self.thread = thread
    }

    /// Calls `body` once for each item in 0 ..< count, on any member, and returns when all are done. Every member must
    /// call this with the same count. Items must not depend on each other; what was written before is visible to all.
    ///
    /// Each member has a contiguous share, for the sake of memory that is read in order, and then helps the others.
    package func forEach(_ count: Int, _ body: (_ item: Int) -> Void) {
        let threads = team.threads
        if threads == 1 {
            for item in 0..<count { body(item) }
            return
        }
        loop &+= 1
        for offset in 0..<threads {
            let owner = (thread + offset) % threads
            let start = count * owner / threads
            let share = count * (owner + 1) / threads - start
            while let item = team.take(from: owner, of: share, loop) { body(start + item) }
        }
        team.meet()
    }
}

/// What the threads share; apart from the pool, so that a running thread does not keep the pool alive.
private final class Team: @unchecked Sendable {
    /// Known when all threads are started, before the first work.
    var threads = 1
    private let spins: Int
    private var work: (any TeamWork)?
    /// Counts pieces of work, and wakes those who wait for one.
    private let started = Gate()
    /// Counts meetings, and wakes those who wait for the others.
    private let met = Gate()
    private let arrived = Atomic<Int>(0)
    private let stopping = Atomic<Bool>(false)
    /// Per thread, the loop that it last took part in and how many items of its share are taken: a cache line each.
    private let taken: UnsafeMutablePointer<Atomic<UInt64>>
    private let most: Int
    private static let stride = 16

    init(most: Int) {
        self.most = most
        // Where threads outnumber the processors, spinning only keeps others from working.
        spins = most > 1 && most <= availableProcessors() ? 2000 : 0
        taken = .allocate(capacity: most * Self.stride)
        for index in 0..<most * Self.stride { (taken + index).initialize(to: Atomic(0)) }
    }

    deinit {
        taken.deinitialize(count: most * Self.stride)
        taken.deallocate()
    }

    func run(_ work: any TeamWork, _ caller: TeamMember) {
        self.work = work
        started.advance()
        work.work(caller)
        meet()
        self.work = nil
    }

    func serve(_ member: TeamMember) {
        var seen: UInt32 = 0
        while true {
            started.wait(while: seen, spins: spins)
            seen &+= 1
            if stopping.load(ordering: .acquiring) { return }
            work?.work(member)
            meet()
        }
    }

    func stop() {
        stopping.store(true, ordering: .releasing)
        started.advance()
    }

    /// The next item of a share, if there is one left in this loop.
    func take(from owner: Int, of share: Int, _ loop: UInt32) -> Int? {
        let word = taken + owner * Self.stride
        var seen = word.pointee.load(ordering: .relaxed)
        while true {
            let next = UInt32(truncatingIfNeeded: seen >> 32) == loop ? Int(seen & 0xFFFF_FFFF) : 0
            if next >= share { return nil }
            let (exchanged, current) = word.pointee.weakCompareExchange(
                expected: seen, desired: UInt64(loop) << 32 | UInt64(next + 1), ordering: .relaxed)
            if exchanged { return next }
            seen = current
        }
    }

    /// Returns when all threads have come here; what each wrote before is then visible to all.
    func meet() {
        let meeting = met.current
        if arrived.add(1, ordering: .acquiringAndReleasing).newValue == threads {
            arrived.store(0, ordering: .relaxed)
            met.advance()
        } else {
            met.wait(while: meeting, spins: spins)
        }
    }
}

/// A counter that threads wait for: they spin, then sleep.
private final class Gate: @unchecked Sendable {
    /// The counter, and how many sleep.
    private let words: UnsafeMutablePointer<Atomic<UInt32>>

    init() {
        words = .allocate(capacity: 2)
        for index in 0..<2 { (words + index).initialize(to: Atomic(0)) }
    }

    deinit {
        words.deinitialize(count: 2)
        words.deallocate()
    }

    var current: UInt32 { words.pointee.load(ordering: .acquiring) }

    func advance() {
        // Sequentially consistent here and in `wait`: either the sleeper sees the new value or it is seen itself.
        words.pointee.add(1, ordering: .sequentiallyConsistent)
        if words[1].load(ordering: .sequentiallyConsistent) > 0 { system_wake_all(words) }
    }

    func wait(while seen: UInt32, spins: Int) {
        for _ in 0..<spins {
            if current != seen { return }
            system_pause()
        }
        words[1].add(1, ordering: .sequentiallyConsistent)
        while words.pointee.load(ordering: .sequentiallyConsistent) == seen { system_sleep_while(words, seen) }
        words[1].subtract(1, ordering: .relaxed)
    }
}

/// Starts a thread with all signals blocked (they belong to the host); nil when the system refuses.
package func startThread(_ body: @escaping @Sendable () -> Void) -> pthread_t? {
    final class Box {
        let body: @Sendable () -> Void; init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
    var all = sigset_t()
    var previous = sigset_t()
    sigfillset(&all)
    pthread_sigmask(SIG_SETMASK, &all, &previous)
    defer { pthread_sigmask(SIG_SETMASK, &previous, nil) }
    let box = Unmanaged.passRetained(Box(body))
    var handle = pthread_t()
    let status = pthread_create(
        &handle, nil,
        { argument in
            guard let argument else { return nil }
            // A new thread inherits the floating-point state of the one that starts it.
            withDefaultFloatingPoint(Unmanaged<Box>.fromOpaque(argument).takeRetainedValue().body)
            return nil
        }, box.toOpaque())
    guard status == 0 else {
        box.release()
        return nil
    }
    return handle
}
