//! The Python package of `examples/python`, by its own tests.

use watchfire_tests::run_python_tests;

#[test]
fn the_python_package_never_waits_raises_or_loses_uncounted() {
    let said = run_python_tests("test_package");
    assert!(said.contains("\nOK"), "nothing may be skipped: {said}");
}

#[test]
fn every_snippet_of_the_specification_runs_with_its_imports_changed() {
    let said = run_python_tests("test_specification");
    assert!(said.contains("\nOK\n") && !said.contains("skipped"), "nothing may be skipped: {said}");
}
