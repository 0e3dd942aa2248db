"""What a disk, a crash or a slip does to the files of a store, at random from a seed."""

import json
import shutil


def files_of(runs):
    """List the files of a store that are there to stay; not those on their way."""
    found = [p for p in sorted(runs.rglob("*")) if p.is_file()]
    return [p for p in found if not any(part.startswith(".tmp-") for part in p.parts)]


def damage_one(runs, rng, damages=None):
    """Damage one file of a store, or one run's folder; say what was done."""
    path = rng.choice(files_of(runs))
    alike = [p for p in files_of(runs) if p != path and p.suffix == path.suffix]
    damage = rng.choice(damages or DAMAGES)
    damage(path, rng, alike or [path])
    return f"{damage.__name__} {path.relative_to(runs)}"


def flip_a_byte(path, rng, others):
    content = bytearray(path.read_bytes() or b"x")
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)


def cut(path, rng, others):
    content = path.read_bytes()
    path.write_bytes(content[: rng.randrange(len(content) + 1)])


def lose_a_line(path, rng, others):
    lines = path.read_bytes().splitlines(keepends=True) or [b""]
    del lines[rng.randrange(len(lines))]
    path.write_bytes(b"".join(lines))


def fill_with_nothing(path, rng, others):
    path.write_bytes(bytes(len(path.read_bytes())))


def swap(path, rng, others):
    other = rng.choice(others)
    ours, theirs = path.read_bytes(), other.read_bytes()
    path.write_bytes(theirs)
    other.write_bytes(ours)


def change_a_type(path, rng, others):
    try:
        values = json.loads(path.read_bytes())
    except ValueError:
        return flip_a_byte(path, rng, others)
    places = []

    def walk(node):
        for key in list(node) if isinstance(node, dict) else range(len(node)):
            places.append((node, key))
            if isinstance(node[key], dict | list):
                walk(node[key])

    walk({"": values} if not isinstance(values, dict | list) else values)
    node, key = rng.choice(places)
    node[key] = rng.choice([None, [], {}, "x", -1, 1.5, True, [[1]], {"a": 1}, 10**30])
    path.write_text(json.dumps(values))
    return None


def become_a_folder(path, rng, others):
    path.unlink()
    path.mkdir()


def copy_over(path, rng, others):
    """A run's folder copied over another's, as a slip of rsync does."""
    here = path.parents[1] if path.parent.name == "eval" else path.parent
    folders = [p.parent for p in others if p.name == "spec.yaml" and p.parent != here]
    if (here / "spec.yaml").exists() and folders:
        shutil.rmtree(here)
        shutil.copytree(folders[0], here)


DISKS = (flip_a_byte, cut, lose_a_line, fill_with_nothing, swap, copy_over)
"""What happens to a store that nobody edits."""

DAMAGES = (*DISKS, change_a_type, become_a_folder)
