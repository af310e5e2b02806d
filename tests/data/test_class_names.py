from __future__ import annotations

import pytest

from transfer_cli.data.class_names import look_alike, repeated_folders, unlike_classes


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["2024-05-01", "2024-05-02"], "dates"),
        (["20240501", "20240502"], "dates"),
        (["1.5.2024", "24.12.2024"], "dates"),
        (["05-01-24", "05-02-24"], "dates"),
        (["12-Jan-2023", "3-Feb-2023"], "dates"),
        (["20240501_0630", "20240502_1810"], "dates"),
        (["2022", "2023"], "dates"),
        (["2024-05", "2024-06"], "dates"),
        (["2024W05", "2024W06"], "dates"),
        (["240501", "240502"], "dates"),
        (["January", "Feb"], "dates"),
        (["2023_summer", "2023_winter"], "dates"),
        (["Monday", "Tuesday"], "dates"),
        (["week 1", "week 2"], "dates"),
        (["202405", "202406"], "dates"),
        (["05-2024", "06-2024"], "dates"),
        (["01052024", "02052024"], "dates"),
        (["2023-24", "2024-25"], "dates"),
        (["1st May", "2nd May"], "dates"),
        (["Mai 2024", "Oktober 2024"], "dates"),
        (["enero", "febrero"], "dates"),
        (["2024\u5e745\u67081\u65e5", "2024\u5e745\u67082\u65e5"], "dates"),
        (["Deployment 1", "Deployment 2"], "dates"),
        (["fox", "2024-05-01"], "dates"),
        (["ST01", "ST02"], "stations"),
        (["Station 3", "Station 14"], "stations"),
        (["site_A", "site_B"], "stations"),
        (["station north", "station south"], "stations"),
        (["A01", "B04", "C12"], "stations"),
        (["SNP_S1_B04", "SNP_S1_C11"], "stations"),
        (["zone1", "zone2"], "stations"),
        (["north station", "south station"], "stations"),
        (["Standort 1", "Standort 2"], "stations"),
        (["Cam01", "Cam02"], "cameras"),
        (["CAM-A", "CAM-B"], "cameras"),
        (["C\u00e1mara 1", "C\u00e1mara 2"], "cameras"),
        (["100MEDIA", "101MEDIA"], "cameras"),
        (["100EK113", "DCIM"], "cameras"),
        (["ridge_cam1", "creek_cam2"], "cameras"),
        (["ridge_cam", "creek_cam"], "cameras"),
        (["Camera north", "Camera south"], "cameras"),
        (["CamTrap01", "cameratrap2"], "cameras"),
        (["SD1", "SD2"], "cameras"),
    ],
)
def test_unlike_classes_of_times_and_places_gives_their_kind(names: list[str], kind: str) -> None:
    found = unlike_classes(names)
    assert found is not None
    assert found[0] == kind


@pytest.mark.parametrize(
    "names",
    [
        ["fox", "hare"],
        [str(number) for number in range(12)],
        ["n01440764", "n02102040"],
        ["class1", "class2"],
        ["camera", "cup", "trap"],
        ["train station", "bus station", "cat", "dog"],
        ["May", "Anna", "Lea"],
        ["St Bernard", "Poodle"],
        ["Acura Integra 2001", "BMW X5 2007"],
        ["737-300", "747-400"],
        ["1.2.10", "1.2.11"],
        ["10", "1200", "99999999"],
        ["spring roll", "summer roll", "soup"],
        ["gas station", "fire station", "train station"],
        ["bird trap", "mouse trap"],
        ["camera lens", "camera body"],
        ["A320", "A380", "B737"],
        ["E120", "E330"],
        ["wet", "dry"],
        ["summer", "winter"],
        ["10-12-14", "9-11"],
        ["card 1", "ace", "joker"],
    ],
)
def test_unlike_classes_of_ordinary_names_is_none(names: list[str]) -> None:
    assert unlike_classes(names) is None


@pytest.mark.parametrize(
    "other",
    [
        "Fox",
        "fox ",
        " fox",
        "fox\u200b",
        "fo\u00adx",
        "\ufefffox",
        "f\u043ex",
        "\uff46ox",
        "fox\u00a0",
        "fox\ufe0f",
        "fox\u2800",
    ],
)
def test_look_alike_of_one_word_written_in_two_ways_is_a_group(other: str) -> None:
    assert look_alike(["fox", "hare", other]) == [sorted(["fox", other])]


@pytest.mark.parametrize(
    "names",
    [
        ["red fox", "red_fox"],
        ["red fox", "red  fox"],
        ["red-fox", "redfox"],
        ["cafe\u0301", "caf\u00e9"],
        ["\u0130zmir", "izmir"],
    ],
)
def test_look_alike_of_blanks_and_accents_is_a_group(names: list[str]) -> None:
    assert look_alike(names) == [sorted(names)]


@pytest.mark.parametrize(
    "names", [["1", "-1"], ["a", "\u00e4"], ["C", "C+", "C#"], ["0", "O"], ["1 2", "12"], ["\u72d0", "\u5154"]]
)
def test_look_alike_of_different_names_is_empty(names: list[str]) -> None:
    assert look_alike(names) == []


def test_repeated_folders_need_a_shared_one_under_every_class() -> None:
    assert repeated_folders({"a": {"x", "y"}, "b": {"y", "z"}, "c": {"z"}}) == ["y", "z"]
    assert repeated_folders({"a": {"x", "y"}, "b": {"y"}, "c": set()}) == []
    assert repeated_folders({"a": {"images"}, "b": {"images"}}) == []
    assert repeated_folders({"a": {"DCIM"}, "b": {"DCIM"}}) == ["DCIM"]
    assert repeated_folders({"a": {"x", "y"}}) == []
