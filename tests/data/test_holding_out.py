import pytest

from mmkeras.data import folds, hold_out


class TestHoldOut:
    def records(self, speakers=10, each=5):
        who = [f"s{number}" for number in range(speakers) for _ in range(each)]
        return {"audio": [str(row) for row in range(len(who))], "speaker": who}

    @pytest.mark.parametrize(("share", "held"), [(0.2, 10), (3, 15), (["s1", "s4"], 10), (0.01, 5)])
    def test_shares(self, share, held):
        rest, out = hold_out(self.records(), share)
        assert len(out["audio"]) == held
        assert len(rest["audio"]) == 50 - held
        assert not set(rest["speaker"]) & set(out["speaker"])
        assert sorted(rest["audio"] + out["audio"], key=int) == self.records()["audio"]

    def test_the_seed_chooses_and_the_order_does_not(self):
        records = self.records()
        backwards = {name: values[::-1] for name, values in records.items()}
        chosen = [
            set(hold_out(each, 3, seed=seed)[1]["speaker"])
            for each, seed in ((records, 0), (backwards, 0), (records, 1))
        ]
        assert chosen[0] == chosen[1] != chosen[2]

    def test_other_columns(self):
        records = {"audio": ["a", "b", "c"], "room": [1, 2, 1]}
        assert hold_out(records, [2], by="room")[1]["audio"] == ["b"]

    @pytest.mark.parametrize("share", [0, 10, 1.0, [], ["nobody"], -1])
    def test_bad_shares(self, share):
        with pytest.raises(ValueError, match="`share` should hold"):
            hold_out(self.records(), share)

    def test_images_with_many_questions(self):
        images = [f"{number % 2000}.png" for number in range(60_000)]
        records = {"image": images, "question": list(range(60_000))}
        rest, held = hold_out(records, 0.1, by="image")
        assert len(held["image"]) == 6000
        assert not set(rest["image"]) & set(held["image"])

    def test_a_column_of_lists(self):
        with pytest.raises(ValueError, match="`by` should name a column without lists"):
            hold_out({"answer": [["a"], ["b"]]}, 1, by="answer")

    def test_missing_column(self):
        with pytest.raises(ValueError, match="Received: by='accent'"):
            hold_out(self.records(), 1, by="accent")


RECORDS = {
    "text": list("abcdefg"),
    "speaker": ["ann", "ben", "cid", "ann", "ben", "dee", "eve"],
}


class TestFolds:
    def test_every_record_is_held_out_once(self):
        found = list(folds(RECORDS, 3))
        assert sorted(text for _, held in found for text in held["text"]) == list("abcdefg")
        assert sorted(len(held["text"]) for _, held in found) == [2, 2, 3]
        for rest, held in found:
            assert sorted(rest["text"] + held["text"]) == list("abcdefg")
            assert rest["text"] == sorted(rest["text"])
        assert found == list(folds(RECORDS, 3))
        assert found != list(folds(RECORDS, 3, seed=1))

    def test_no_speaker_is_on_both_sides(self):
        found = list(folds(RECORDS, 5, by="speaker"))
        assert len(found) == 5
        assert all(not set(rest["speaker"]) & set(held["speaker"]) for rest, held in found)

    @pytest.mark.parametrize("count", [0, 1, 8, 2.0])
    def test_bad_counts(self, count):
        with pytest.raises(ValueError, match="`count` should be from 2 to 7"):
            next(folds(RECORDS, count))

    def test_missing_column(self):
        with pytest.raises(ValueError, match="Received: by='accent'"):
            next(folds(RECORDS, 2, by="accent"))
