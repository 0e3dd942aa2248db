"""Compute summary.csv again from counts.npz: every score, difference, standard error and interval.

    python recompute.py [FOLDER]       exit code 1 where a number differs by more than TOLERANCE

A second route: it shares no code with fcn-bench and needs numpy alone. Scores are weights of
resamples times counts; differences are least squares with a column for each variant and seed.
Beside counts it takes from the file who shares a variance (`model`, `spread`), and how many
standard errors an interval reaches: `stretch` and `quantile` (Student's t of `freedom`), `critical`
of all contrasts of the page at once. Columns that are copied, such as costs, are named.
"""

import csv
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

TOLERANCE = 1e-9
LIMITS = ([0.0], [1.0])
Array = np.ndarray[Any, Any]
Arrays = dict[str, Any]
Parts = dict[str, Array]
ROWS = {"counts": 3, "boundary": 2, "surface": 2, "calibration": 4}
"""Rows of what is counted in each image: pixels right, in the target, predicted; and so on."""


def score(sums: Parts, z: Arrays, one: Arrays) -> Array:
    """Score sums over images: of each key of `ROWS` that was counted, its rows (..., R, K).

    Returns scores in the order of `score_names`, (..., M); NaN for means over images.
    """
    rows = {key: np.moveaxis(part.astype(float), -2, 0) for key, part in sums.items()}
    hit, target, pred = rows["counts"]
    total, iou = target.sum(-1, keepdims=True), hit / (target + pred - hit)
    chance = (target * pred).sum(-1) / total[..., 0] ** 2
    right = hit.sum(-1) / total[..., 0]
    precision = np.where((pred == 0) & (target > 0), 0.0, hit / pred)
    classes = {  # nan for a class without pixels: left out
        **{"miou": iou, "mean_acc": hit / target, "recall": hit / target, "precision": precision},
        "dice": 2 * hit / (target + pred),
    }
    found = {"pixel_acc": right, "kappa": (right - chance) / (1 - chance)}
    if "boundary" in rows:  # intersections and unions
        classes["boundary_miou"] = np.divide(*rows["boundary"])
    if "surface" in rows:  # sixteenths of a pixel; no distance is zero
        distance, number = rows["surface"]
        no_zero = {**z, "absent": str(z.get("absent", "")).replace("zero", "")}
        found["surface_distance"] = np.nanmean(fit(distance / (16 * number), no_zero, one), -1)
    if "calibration" in rows:  # confidence and loss in parts of 1 / 2 ** 16
        pixels, correct, confidence, loss = rows["calibration"]
        found["ece"] = abs(correct - confidence / 2**16).sum(-1) / pixels.sum(-1)
        found["nll"] = loss.sum(-1) / 2**16 / pixels.sum(-1)
    for name, values in classes.items():
        found[name] = np.nanmean(fit(values, z, one), -1)
    kept = fit(iou, z, one)
    share = np.where(np.isnan(kept), 0.0, target)
    found["fw_iou"] = np.nansum(share / share.sum(-1, keepdims=True) * kept, -1)
    none = np.full(right.shape, np.nan)
    return np.stack([found.get(name, none) for name in z["score_names"].tolist()], -1)


def fit(values: Array, z: Arrays, one: Arrays) -> Array:
    """Make of scores of classes, (..., C), what the question's means are over; NaN is left out."""
    absent = str(z.get("absent", ""))
    if absent == "leave_out":
        values = np.where(one["present"], values, np.nan)
    elif absent == "zero":
        values = np.where(one["present"], values, 0.0)
    return np.where(np.isin(one["class_names"], z.get("exclude_classes", [])), np.nan, values)


def score_images(parts: Parts, weights: Array, z: Arrays, one: Arrays) -> tuple[Array, Array]:
    """Score runs, (M,) each, and every resample of their images: points (S, M), draws (R, S, M).

    A score called image_NAME is the mean of NAME over images that have one.
    """
    names, runs = z["score_names"].tolist(), range(len(parts["counts"]))
    points = score({key: part.sum(1) for key, part in parts.items()}, z, one)
    drawn = [{key: np.tensordot(weights, p[r], 1) for key, p in parts.items()} for r in runs]
    draws = np.stack([score(sums, z, one) for sums in drawn], axis=1)
    for m, name in enumerate(names):
        if name.startswith("image_"):
            own = {**z, "score_names": np.array([name.removeprefix("image_")])}
            each = score(parts, own, one)[..., 0]
            known = ~np.isnan(each)
            each = np.where(known, each, 0.0)
            points[:, m] = each.sum(1) / known.sum(1)
            draws[..., m] = (weights @ each.T) / (weights @ known.T)
    return points, draws


def draw(one: Arrays) -> Array:
    """Return how often each image is in each resample, (R, N): as stored, or drawn by PCG64."""
    weights, blocks = one.get("weights"), one["blocks"]
    if weights is None:
        rng = np.random.default_rng(one["entropy"].tolist())
        size = int(one["num_units"])
        chosen = (blocks[rng.integers(0, len(blocks), size)] for _ in range(one["num_resamples"]))
        weights = np.stack([np.bincount(b.ravel(), minlength=len(blocks)) for b in chosen])
    return np.asarray(weights[:, one["column"]], dtype=float)


def summarize(
    points: Array, draws: Array, times: Array, stretch: Array, grow: float, limits: Array
) -> list[Array]:
    """Return mean over seeds, spread, both ends of the interval and standard error, (M,) each.

    In: scores by seed, (S, M), and in each resample of images, (R, S, M); how often each seed is in
    each resample, (R, S).
    """
    S, mean, drawn = len(points), points.mean(0), draws.mean(1)
    moves, variance = np.sqrt(grow) * (drawn - mean), grow * np.nanvar(drawn, axis=0, ddof=1)
    spread = points.std(0, ddof=1) if S > 1 else np.full_like(mean, np.nan)
    if S > 1:
        moves = moves + ((times[..., None] - 1.0) * draws).sum(1) / np.sqrt(S * (S - 1))
        variance = variance + spread**2 / S
    low, high = mean + stretch * np.nanquantile(moves, [0.025, 0.975], axis=0)
    low, high = (np.clip(end, *limits) for end in (low, high))
    return [mean, spread, low, high, np.sqrt(variance)]


def solve(points: Array, variant: Array, seed: Array, group: Array) -> tuple[Array, Array]:
    """Return the weight of each run in each variant's mean, (V, n), and its variance, (n,).

    Least squares; seeds have an effect where all variants share one variance. That is the residual
    one, pooled over a group of variants.
    """
    columns = [np.equal.outer(x, np.unique(x)).astype(float) for x in (variant, seed)]
    design = np.hstack(columns)
    if len(set(group)) > 1 or np.linalg.matrix_rank(design) < design.shape[1] - 1:
        design = columns[0]
    inverse = np.linalg.pinv(design)
    squares = (points - design @ (inverse @ points)) ** 2
    freedom = 1 - np.einsum("ij,ji->i", design, inverse)  # adds up to runs less parameters
    alike = np.equal.outer(group, group).astype(float)
    return inverse[: columns[0].shape[1]], alike @ squares / np.maximum(alike @ freedom, 1e-12)


def compare(z: Arrays, one: Arrays, a: int, m: int) -> dict[int, list[float]]:
    """Return what each variant has more than the baseline by score m; a: without outliers.

    Estimate, standard error, spread over common seeds, and whether one model judges both.
    """
    use = ~one["outlier"] if a else np.full(len(one["seeds"]), True)
    variant, seed, points = one["variant"][use], one["seeds"][use], one["points"][use, m]
    draws, base, model = one["draws"][:, use, m], int(z["baseline"]), z["model"][a, m]
    inside = (model[variant] == model[base]) & (model[base] >= 0)
    known, found = np.unique(variant[inside]).tolist(), {}
    if known:
        group = z["spread"][a, m][variant[inside]]
        means, variances = solve(points[inside], variant[inside], seed[inside], group)
    for v in np.unique(variant[variant != base]).tolist():
        common = np.intersect1d(seed[variant == v], seed[variant == base])
        if not len(common) or not z["is_comparable"][m, v]:
            continue
        signs = np.where(variant == v, 1.0, -1.0) * np.isin(variant, (v, base))
        gains = np.array([(signs * points)[seed == s].sum() for s in common])
        spread = gains.std(ddof=1) if len(gains) > 1 else np.nan
        weights, of_seeds = signs * np.isin(seed, common) / len(common), 0.0
        if v in known:
            weights[:], row = 0.0, means[known.index(v)] - means[known.index(base)]
            weights[inside] = row
            of_seeds = np.fmax(row**2 @ variances, spread**2 / len(gains))  # or its own, if larger
        error = np.sqrt(of_seeds + one["grow"] * np.var(draws @ weights, ddof=1))
        found[v] = [float(weights @ points), float(error), float(spread), v in known]
    return found


def recompute(z: Arrays) -> dict[tuple[int, str], float]:
    """Return numbers by row and column of summary.csv."""
    cells: dict[tuple[int, str], float] = {}
    names, scores = z["variant_names"].tolist(), z["score_names"].tolist()
    primary = str(z.get("primary", "miou"))  # earlier files have none

    def fill(row: int, score: str, kinds: str, values: list[float]) -> None:
        cells.update({(row, f"{score}_{k}"): v for k, v in zip(kinds.split(), values, strict=True)})

    for end in z["sets"].tolist():  # sets of images; nothing is compared across them
        one = {key.removesuffix(end): z[key] for key in z if key.endswith(end)}
        units, shape = float(one["num_units"]), one["counts"].shape[:2]
        parts = {key: one[key].reshape(*shape, R, -1) for key, R in ROWS.items() if key in one}
        one["present"] = parts["counts"][0, :, 1].sum(0) > 0
        one["points"], one["draws"] = score_images(parts, draw(one), z, one)
        one["variant"] = np.array([names.index(name) for name in one["variants"]])
        # A resample of n spreads as n - 1 fresh ones; one unit says nothing of others.
        one["grow"] = units / (units - 1) if units > 1 else np.nan
        for v in np.unique(one["variant"]).tolist():
            own = one["variant"] == v
            times = z["seed_weights"][z["seed_weights_of"][v], :, : own.sum()]
            found = [
                one["points"][own],
                one["draws"][:, own],
                times,
                z["stretch"][v],
                one["grow"],
                z.get("limits", LIMITS),
            ]
            cells[v, "num_done"], cells[v, "num_images"] = own.sum(), shape[1]
            for name, values in zip(scores, np.transpose(summarize(*found)), strict=True):
                fill(v, name, "mean std low high error", values)
        for m, name in enumerate(scores if z["baseline"] >= 0 else ()):
            others = compare(z, one, 1, m) if len(z["model"]) > 1 and name == primary else None
            for v, (diff, error, spread, is_judged) in compare(z, one, 0, m).items():
                ends, own = span(z, 0, m, v, diff, error)
                if others is not None:  # and without outliers: the interval reaches over both
                    rest = others.get(v, [np.nan, np.nan, np.nan, False])
                    without = span(z, 1, m, v, rest[0], rest[1])[0]
                    fill(v, f"{name}_diff", "without without_low without_high", [rest[0], *without])
                    known = without if rest[3] else [0.0, 0.0]
                    ends = [min(ends[0], known[0]), max(ends[1], known[1])] if is_judged else ends
                kinds = "mean error std low high own_low own_high"
                fill(v, f"{name}_diff", kinds, [diff, error, spread, *ends, *own])
    return cells


def span(z: Arrays, a: int, m: int, v: int, diff: float, error: float) -> list[list[float]]:
    """Return the interval that decides and the difference's own, cut where no difference can be."""
    reach, most = z["quantile"][a, m, v] * error, z["widest"][m] if "widest" in z else 1.0
    return [
        [np.fmax(diff - far, -most) + 0 * far, np.fmin(diff + far, most) + 0 * far]
        for far in (z["critical"][a, m, v] * reach, reach)
    ]


def main(folder: Path) -> int:
    """Compare with summary.csv, column by column; print the largest deviation."""
    with np.load(folder / "counts.npz") as file, np.errstate(all="ignore"):
        z = {key: file[key] for key in file.files}
        cells = recompute(z)
    with (folder / "summary.csv").open(encoding="utf-8", newline="") as text:
        rows = list(csv.DictReader(text))
    copied, worst, count = set(z["copied"].tolist()), (0.0, "none"), 0
    done = [cells.get((r, "num_done"), 0) == float(row["num_done"]) for r, row in enumerate(rows)]
    for r, row in enumerate(rows):
        for name in [name for name in row if name not in copied]:
            if not done[r] or ("_diff_" in name and not done[int(z["baseline"])]):
                continue  # the file has not the counts of all of its runs
            mine, theirs = cells.get((r, name), np.nan), float(row[name] or "nan")
            same = np.isnan(mine) and np.isnan(theirs)
            far = 0.0 if same else np.nan_to_num(abs(mine - theirs), nan=np.inf)
            worst, count = max(worst, (float(far), f"{row['variant']}, {name}")), count + 1
    print(f"{count} numbers of {sum(done)} variant{'s' if sum(done) != 1 else ''} computed again")
    print(f"largest deviation: {worst[0]:.1e} ({worst[1]})")
    print("copied, not computed:", ", ".join(name for name in rows[0] if name in copied))
    if left := [row["variant"] for row, whole in zip(rows, done, strict=True) if not whole]:
        print("without counts of all runs:", ", ".join(left))
    return int(worst[0] > TOLERANCE)


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # 0 / 0 is nan here: a class without pixels
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent)))
