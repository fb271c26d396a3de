#!/bin/sh
# Mutation testing of one module of personal_auth, in a copy of the tree:
#   sh scripts/mutants.sh redirects tests/auth/test_redirects.py
# Prints every change of a function's body that no test notices. Constants, regular expressions
# and decorated functions stay as they are. Needs .venv (`make test` makes it) and the network.
set -eu
module=$1
shift
cd "$(dirname "$0")/.."
uv=$PWD/.venv/bin/uv
work=build/mutants/$module
rm -rf "$work"
mkdir -p "$work/src"
cp -r template/src/personal_auth "$work/src/"
cp -r tests "$work/"
sed 's|template/src|src|g' pyproject.toml >"$work/pyproject.toml"
cat >>"$work/pyproject.toml" <<END

[tool.mutmut]
source_paths = ["src"]
only_mutate = ["src/personal_auth/$module.py"]
pytest_add_cli_args_test_selection = ["$(echo "$*" | sed 's/ /", "/g')"]
END
cd "$work"
mutmut() {
    nice -n 10 "$uv" run --quiet --no-project --with mutmut==3.8.1 mutmut "$@"
}
mutmut run --max-children "${JOBS:-2}" >log 2>&1 || { tail -n 40 log; exit 1; }
tr '\r' '\n' <log | tail -n 3
mutmut results | sed -n 's/^ *\(.*\): .*/\1/p' | while read -r name; do
    echo "== $name"
    mutmut show "$name" | grep '^[-+] '
done
