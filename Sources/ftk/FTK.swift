import ArgumentParser

@main
struct FTK: ParsableCommand {}
