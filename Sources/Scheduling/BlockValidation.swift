/// Checks of everything that must hold between operations. Slow and plain: for tests, and for looking into a fault.
extension BlockPool {
    /// All violations. `tables` are all tables in existence, `held` the blocks of references outside tables, one
    /// element for each.
    package func validate(tables: [BlockTable], held: [Int32] = []) -> [String] {
        let references = tables.flatMap(\.blocks) + held
        let strangers = references.filter { $0 < 0 || $0 >= Int32(total) }
        guard strangers.isEmpty else { return ["references to blocks that do not exist: \(strangers)"] }
        var violations: [String] = []
        checkCounts(references, &violations)
        checkFree(&violations)
        let oldestFirst = cache.idle.walk(&violations)
        checkIdle(oldestFirst, &violations)
        checkForest(&violations)
        checkIndex(&violations)
        for (number, table) in tables.enumerated() { check(table, "table \(number)", &violations) }
        return violations
    }

    private var registered: [Int32] { (0..<Int32(total)).filter { cache.isRegistered($0) } }

    private func checkCounts(_ references: [Int32], _ violations: inout [String]) {
        var expected = Array(repeating: Int32(0), count: total)
        for block in references { expected[Int(block)] += 1 }
        for block in 0..<total where counts[block] != expected[block] {
            violations.append("block \(block): counts \(counts[block]) references, there are \(expected[block])")
        }
    }

    private func checkFree(_ violations: inout [String]) {
        var isFree = Array(repeating: false, count: total)
        for block in free {
            if isFree[Int(block)] { violations.append("block \(block): free twice") }
            isFree[Int(block)] = true
        }
        for block in 0..<total {
            let shouldBe = counts[block] == 0 && !cache.nodes[block].isRegistered
            if isFree[block] != shouldBe {
                violations.append("block \(block): \(isFree[block] ? "" : "not ")free, but \(counts[block]) references")
            }
        }
        let figures = statistics
        if figures.free + figures.cached + figures.used != total || figures.used < 0 {
            violations.append("\(figures.free) free, \(figures.cached) cached, \(figures.used) used of \(total)")
        }
    }

    private func checkIdle(_ oldestFirst: [Int32], _ violations: inout [String]) {
        var seen = Array(repeating: false, count: total)
        for block in oldestFirst {
            let node = cache.nodes[Int(block)]
            if !node.isRegistered || node.uses != 0 || counts[Int(block)] != 0 {
                violations.append("block \(block): waits for eviction, but is in use or unknown")
            }
            if node.parent != PrefixCache.none, seen[Int(node.parent)] {
                violations.append("block \(block): its parent \(node.parent) would be evicted first")
            }
            seen[Int(block)] = true
        }
        for block in registered where cache.nodes[Int(block)].uses == 0 && !seen[Int(block)] {
            violations.append("block \(block): not in use, but does not wait for eviction")
        }
    }

    /// Every registered block is reached from a root once, and the counts of uses follow from those of references.
    private func checkForest(_ violations: inout [String]) {
        var reached = Array(repeating: false, count: total)
        var uses = counts.map { $0 > 0 ? Int32(1) : 0 }
        for (isolation, first) in cache.roots {
            if first == PrefixCache.none { violations.append("isolation \(isolation): a root without blocks") }
            checkTree(first, isolation, &reached, &uses, &violations)
        }
        for block in 0..<total {
            let node = cache.nodes[block]
            if node.isRegistered != reached[block] {
                violations.append("block \(block): registered \(node.isRegistered), reached \(reached[block])")
            } else if node.isRegistered, node.uses != uses[block] {
                violations.append("block \(block): \(node.uses) uses, there are \(uses[block])")
            }
        }
    }

    /// Walks a tree without recursion, parents first, then adds up the uses of children from the leaves on.
    private func checkTree(
        _ root: Int32, _ isolation: UInt64, _ reached: inout [Bool], _ uses: inout [Int32], _ violations: inout [String]
    ) {
        var order: [Int32] = []
        var open = [(first: root, parent: PrefixCache.none)]
        while let (first, parent) = open.popLast() {
            var (block, previous) = (first, PrefixCache.none)
            while block != PrefixCache.none {
                let node = cache.nodes[Int(block)]
                if reached[Int(block)] {
                    violations.append("block \(block): reached twice")
                    break
                }
                reached[Int(block)] = true
                if node.parent != parent || node.previousSibling != previous || node.isolation != isolation {
                    violations.append("block \(block): wrong parent, sibling or isolation")
                }
                order.append(block)
                open.append((node.firstChild, block))
                (previous, block) = (block, node.nextSibling)
            }
        }
        for block in order.reversed() where uses[Int(block)] > 0 {
            let parent = cache.nodes[Int(block)].parent
            if parent != PrefixCache.none { uses[Int(parent)] += 1 }
        }
    }

    /// Every registered block is in its chain of the hash table, once, and no two keep the same.
    private func checkIndex(_ violations: inout [String]) {
        var found: [Int32: Int] = [:]
        for (number, first) in cache.buckets.enumerated() {
            var block = first
            while block != PrefixCache.none, found[block, default: 0] < 2 {
                found[block, default: 0] += 1
                if cache.bucketOf(block) != number { violations.append("block \(block): in a wrong hash chain") }
                block = cache.nodes[Int(block)].nextInBucket
            }
        }
        let registered = registered
        if Set(registered) != Set(found.keys) || found.values.contains(where: { $0 != 1 }) {
            violations.append("the hash table has \(found), registered are \(registered)")
        }
        if registered.count != cache.registeredCount {
            violations.append("\(registered.count) blocks are registered, counted \(cache.registeredCount)")
        }
        var keys = Set<[Int]>()
        for block in registered {
            let node = cache.nodes[Int(block)]
            if cache.expectedHash(of: block) != node.hash { violations.append("block \(block): wrong hash") }
            let key = [Int(node.parent), Int(bitPattern: UInt(node.isolation))] + cache.tokens(of: block).map(Int.init)
            if !keys.insert(key).inserted { violations.append("block \(block): another keeps the same prefix") }
        }
    }

    private func check(_ table: BlockTable, _ name: String, _ violations: inout [String]) {
        if Set(table.blocks).count != table.blocks.count { violations.append("\(name): a block twice") }
        guard table.registered <= table.blocks.count else {
            violations.append("\(name): \(table.registered) blocks registered of \(table.blocks.count)")
            return
        }
        var parent = PrefixCache.none
        for block in table.blocks.prefix(table.registered) {
            let node = cache.nodes[Int(block)]
            if !node.isRegistered || node.parent != parent || node.isolation != table.isolation {
                violations.append("\(name): block \(block) is not registered after \(parent)")
            }
            parent = block
        }
    }
}
