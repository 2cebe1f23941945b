"""What a synthetic newspaper writes about: sixteen categories of four subcategories, each with its words.

Every phrase is invented for freshet and names no real person, company or event. Within a subcategory any
subject goes with any action and any cause, so that headlines put together from them read as English:

- a *focus* is a subject (singular, without article) and the matter behind it (with its article, if any);
- an *action* is what a subject does (third person singular);
- a *cause* is what it follows from (a noun phrase).

The second half of the subcategories is in :mod:`freshet.models.datasets.synthetic.vocabulary_leisure`.
"""

from __future__ import annotations

from dataclasses import dataclass

FOCI = 6
"""Subjects of each subcategory."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The words of one subcategory."""

    category: str
    subcategory: str
    subjects: tuple[str, ...]
    matters: tuple[str, ...]
    actions: tuple[str, ...]
    causes: tuple[str, ...]


def vocabulary(category: str, subcategory: str, foci: str, actions: str, causes: str) -> Vocabulary:
    """Read one subcategory's words: parts separated by ``; ``, subject and matter by ``/``.

    Raises:
        ValueError: There are not exactly ``FOCI`` foci, or one lacks its matter.
    """
    pairs = [tuple(focus.split("/")) for focus in foci.split("; ")]
    if len(pairs) != FOCI or any(len(pair) != 2 for pair in pairs):  # noqa: PLR2004 - subject and matter
        raise ValueError(f"{category}/{subcategory}: needs {FOCI} foci of the form subject/matter")
    return Vocabulary(
        category=category,
        subcategory=subcategory,
        subjects=tuple(subject for subject, _ in pairs),
        matters=tuple(matter for _, matter in pairs),
        actions=tuple(actions.split("; ")),
        causes=tuple(causes.split("; ")),
    )


HARD_NEWS = (
    vocabulary(
        "politics",
        "elections",
        "mayoral candidate/the mayoral race; opposition leader/the opposition's campaign; polling "
        "official/the vote count; first-time candidate/the race for open seats; regional governor/the "
        "governor's re-election; election watchdog/campaign spending",
        "calls for a recount; opens a narrow lead in the polls; promises to accept the ballot result; "
        "changes campaign strategy; rejects claims of ballot errors; rallies undecided voters",
        "a record turnout; a tense televised debate; a court ruling on postal votes",
    ),
    vocabulary(
        "politics",
        "parliament",
        "finance minister/the budget bill; coalition partner/the coalition agreement; senate "
        "committee/the senate inquiry; backbench rebel/the party revolt; prime minister/the cabinet "
        "reshuffle; speaker of parliament/parliamentary rules",
        "delays the vote on the budget; survives a vote of no confidence; demands changes to the bill; "
        "defends the new tax law; blocks the reform package; offers lawmakers a compromise",
        "a night of negotiations; weeks of deadlock; a leaked draft of the law",
    ),
    vocabulary(
        "politics",
        "diplomacy",
        "trade envoy/the trade talks; foreign minister/the border agreement; peace mediator/the ceasefire "
        "plan; ambassador/the embassy dispute; summit host/the summit of leaders; defence minister/the "
        "defence pact",
        "returns to the negotiating table; warns neighbours against new sanctions; signs a treaty at the "
        "summit; walks out of talks; calls for calm at the border; welcomes a thaw in relations",
        "a dispute over fishing rights; a round of sanctions; a surprise phone call between capitals",
    ),
    vocabulary(
        "politics",
        "local_government",
        "city council/the city budget; borough planner/the zoning plan; town hall/council services; "
        "housing authority/social housing; transit board/the new tram line; county auditor/public "
        "contracts",
        "approves a plan for the old harbour; freezes spending on street repairs; asks residents about "
        "the plan; votes to raise property taxes; scraps a contract with the waste service; opens its "
        "books to the public",
        "complaints from residents; a heated public hearing; an audit of city contracts",
    ),
    vocabulary(
        "business",
        "markets",
        "stock index/share prices; bond trader/government bonds; currency desk/the exchange rate; pension "
        "fund/pension savings; retail investor/the rush into shares; commodity exchange/the price of "
        "copper",
        "ends the week lower; shrugs off recession fears; braces for volatile trading; posts its best day "
        "in months; trims bets on rate cuts; reacts calmly to the sell-off",
        "a surprise interest rate decision; weak earnings reports; a jump in oil prices",
    ),
    vocabulary(
        "business",
        "companies",
        "airline group/the airline merger; grocery chain/supermarket profits; chip maker/semiconductor "
        "orders; shipping company/container freight; start-up founder/venture funding; drug "
        "manufacturer/the patent dispute",
        "reports a quarterly profit; names a new chief executive; cuts its sales forecast; agrees to a "
        "takeover; plans to buy back shares; closes two plants to save costs",
        "months of falling sales; pressure from shareholders; a failed merger",
    ),
    vocabulary(
        "business",
        "economy",
        "central bank/interest rates; statistics office/the inflation figures; economic adviser/the "
        "growth forecast; export council/foreign trade; treasury/government debt; consumer "
        "institute/household spending",
        "warns of slower growth; lowers its inflation forecast; sees signs of recovery; revises the "
        "quarterly figures; holds interest rates steady; urges caution on public debt",
        "a rise in consumer prices; three months of weak exports; a drop in household spending",
    ),
    vocabulary(
        "business",
        "jobs",
        "warehouse union/warehouse pay; nurses' union/the nurses' pay round; employers' federation/the "
        "shortage of skilled workers; job centre/unemployment benefits; remote worker/working from home; "
        "apprentice/apprenticeships",
        "asks for higher wages; votes on a strike; wins a shorter working week; turns to the labour "
        "court; rejects the pay offer; reports a shortage of staff",
        "a week of strikes; a round of layoffs; a new law on overtime",
    ),
    vocabulary(
        "technology",
        "artificial_intelligence",
        "chatbot developer/chatbots at work; research lab/large language models; image "
        "generator/generated images; robotics team/household robots; translation service/machine "
        "translation; ethics panel/rules for artificial intelligence",
        "releases a smaller model; admits errors in its training data; opens its code to everyone; "
        "promises safer answers; beats a benchmark for reasoning; adds labels to generated content",
        "a debate about copyright; complaints about made-up answers; a new law on algorithms",
    ),
    vocabulary(
        "technology",
        "gadgets",
        "folding phone/folding phones; wireless earbud/wireless headphones; smartwatch/fitness trackers; "
        "pocket camera/pocket cameras; thin laptop/thin laptops; smart speaker/voice assistants",
        "gets a bigger battery; drops its charging port; costs less than expected; disappoints in our "
        "battery test; returns with a brighter screen; becomes easier to repair",
        "a leak of the design; months of rumours; a recall of faulty chargers",
    ),
    vocabulary(
        "technology",
        "security",
        "hospital network/ransomware; password manager/stolen passwords; security researcher/the software "
        "flaw; online bank/phishing mail; cloud provider/the data leak; telecom operator/spam calls",
        "repairs a critical security hole; warns customers about hackers; restores systems from backup; "
        "refuses to pay a ransom; asks users to change passwords; publishes details of the breach",
        "a cyberattack at the weekend; a leak of customer data; a wave of phishing mails",
    ),
    vocabulary(
        "technology",
        "internet",
        "video platform/short videos; social network/hate speech online; streaming app/subscription "
        "prices; online marketplace/fake reviews; browser developer/tracking cookies; broadband "
        "provider/rural broadband",
        "changes its rules for teenagers; bans anonymous accounts; goes offline for hours; tests a paid "
        "version; hides the like button; promises faster connections",
        "protests from users; a fine by regulators; an outage of its servers",
    ),
    vocabulary(
        "science",
        "space",
        "moon lander/the moon landing; space telescope/distant galaxies; rocket crew/the space station; "
        "asteroid hunter/near-Earth asteroids; Mars rover/traces of water on Mars; satellite "
        "operator/space debris",
        "sends back first pictures; passes a final test before launch; finds signs of an unknown planet; "
        "survives a solar storm; drifts from its planned orbit; reaches orbit at the second attempt",
        "years of delays; a failed launch; a radio silence of two days",
    ),
    vocabulary(
        "science",
        "biology",
        "marine biologist/coral reefs; bat researcher/the hearing of bats; genetics team/ancient DNA; "
        "bird observatory/bird migration; insect collector/the decline of insects; zoologist/animal "
        "intelligence",
        "discovers a new species; records behaviour never seen before; finds an explanation for an old "
        "riddle; maps a hidden habitat; counts more animals than expected; traces the origin of a rare "
        "gene",
        "ten years of field work; an expedition to remote islands; a chance find in a museum drawer",
    ),
    vocabulary(
        "science",
        "climate",
        "glacier researcher/melting glaciers; climate panel/global warming; ocean buoy/ocean "
        "temperatures; carbon project/carbon storage; forest ecologist/forests in a drought; polar "
        "station/sea ice",
        "measures record warmth; warns of rising seas; calls for faster emission cuts; publishes a gloomy "
        "forecast; finds reasons for hope; explains the missing heat",
        "the hottest summer on record; a decade of measurements; a new model of ocean currents",
    ),
    vocabulary(
        "science",
        "archaeology",
        "dig team/a buried temple; shipwreck diver/a sunken merchant ship; cave explorer/cave paintings; "
        "museum curator/a bronze treasure; student on a dig/a Roman mosaic; manuscript scholar/a lost "
        "manuscript",
        "uncovers an ancient burial; dates the find to the iron age; doubts the age of the ruins; "
        "deciphers a forgotten inscription; reconstructs a lost city; puts the treasure on show",
        "roadworks near the old town; a drop in the water level; a scan with ground radar",
    ),
    vocabulary(
        "health",
        "medicine",
        "vaccine team/a new vaccine; cancer clinic/cancer screening; heart surgeon/heart surgery; "
        "children's hospital/premature babies; drug agency/the approval of new drugs; diabetes "
        "researcher/diabetes treatment",
        "reports success in a trial; tests a gentler therapy; warns of side effects; shortens waiting "
        "times for patients; finds an early sign of disease; treats the first patients",
        "a trial with {n}00 patients; years of research; a shortage of antibiotics",
    ),
    vocabulary(
        "health",
        "fitness",
        "running coach/the first marathon; yoga teacher/yoga at home; physiotherapist/back pain; swimming "
        "club/swimming for beginners; strength trainer/strength training after fifty; hiking group/daily "
        "walks",
        "explains the best warm-up; recommends shorter workouts; cures stiff muscles with stretching; "
        "trains beginners without pain; swears by slow exercise; shows {n} exercises for the living room",
        "a winter on the couch; a knee injury; a study of daily steps",
    ),
    vocabulary(
        "health",
        "nutrition",
        "dietitian/sugar in drinks; nutrition researcher/fasting diets; school canteen/healthy school "
        "meals; vitamin expert/vitamin supplements; allergy specialist/food allergies; gut clinic/fibre "
        "and gut bacteria",
        "advises against crash diets; debunks a myth about breakfast; counts the calories; recommends "
        "more fibre and beans; compares ready meals; explains food labels",
        "a study of eating habits; questions from readers; a warning about sweeteners",
    ),
    vocabulary(
        "health",
        "mind",
        "sleep laboratory/healthy sleep; psychologist/anxiety; stress counsellor/burnout; memory "
        "clinic/dementia; school therapist/teenage loneliness; meditation app/mindfulness",
        "helps patients find calm; explains why worries keep us awake; warns about screens before "
        "bedtime; finds a simple remedy for stress; offers therapy online; breaks the silence about "
        "depression",
        "a survey on loneliness; a rise in sick leave; months of sleepless nights",
    ),
    vocabulary(
        "justice",
        "courts",
        "district judge/the fraud trial; star witness/the witness statement; appeals court/the appeal; "
        "defence lawyer/the plea bargain; jury/the murder trial; constitutional court/the ruling on "
        "privacy",
        "postpones the verdict; dismisses key evidence; orders a new trial; hears closing arguments; "
        "overturns a sentence; questions the prosecution's case",
        "a month of hearings; a dramatic confession; doubts about a DNA test",
    ),
    vocabulary(
        "justice",
        "police",
        "robbery squad/the bank robbery; missing persons unit/the missing hiker; customs officer/smuggled "
        "cigarettes; burglary suspect/a series of burglaries; police patrol/the car chase; art "
        "detective/the stolen painting",
        "makes an arrest at dawn; searches a warehouse; appeals for witnesses; follows a trail across the "
        "border; solves a case after {n} years; releases footage of the crime",
        "a tip from a neighbour; a break-in at night; a chase through the suburbs",
    ),
    vocabulary(
        "justice",
        "emergencies",
        "fire brigade/the warehouse fire; mountain rescue team/the rescue on the ridge; coast guard/the "
        "sinking trawler; bus driver/the motorway crash; rail operator/the derailed train; bomb squad/the "
        "wartime bomb",
        "evacuates {n}0 people; works through the night; rescues two people; closes the road for hours; "
        "prevents a disaster; looks into the cause of the accident",
        "an explosion near the station; a crash in dense fog; an emergency call from the harbour",
    ),
    vocabulary(
        "justice",
        "consumer_rights",
        "consumer advocate/hidden fees; tenants' association/rent increases; passenger/flight "
        "compensation; energy customer/the electricity bill; data protection office/personal data; online "
        "shopper/refunds for late parcels",
        "sues over unfair contracts; wins a refund in court; files a complaint about small print; warns "
        "of a subscription trap; gets compensation; demands clearer rules",
        "{n}00 complaints; a misleading advertisement; a landmark ruling on refunds",
    ),
    vocabulary(
        "education",
        "schools",
        "primary school/reading in class; head teacher/the shortage of teachers; maths teacher/maths "
        "homework; parents' council/all-day schools; school bus driver/the way to school; exam "
        "board/final exams",
        "bans phones from the classroom; tries a later start of lessons; gives up on grades; asks for "
        "smaller classes; brings back handwriting; cancels lessons for a week",
        "poor test results; a petition by parents; a shortage of substitute teachers",
    ),
    vocabulary(
        "education",
        "universities",
        "law student/the bar exam; university rector/tuition fees; student union/student housing; "
        "exchange student/a term abroad; professor of history/freedom of teaching; medical faculty/places "
        "to study medicine",
        "protests against higher fees; opens a new campus; sees applications rise; limits places on "
        "popular courses; moves lectures online; gets a grant for research",
        "a cut in the university budget; an occupied lecture hall; a scandal over plagiarism",
    ),
    vocabulary(
        "education",
        "parenting",
        "midwife/the first weeks with a baby; kindergarten/places in day care; young father/parental "
        "leave; child psychologist/tantrums; grandmother/grandparents as babysitters; toy tester/toys "
        "without batteries",
        "explains how toddlers learn to sleep; has advice for tired parents; warns of too much screen "
        "time; finds joy in simple games; answers questions about bedtime; settles quarrels between "
        "siblings",
        "a sleepless year; a debate about screen time; the first day at day care",
    ),
    vocabulary(
        "education",
        "languages",
        "language school/evening courses; dialect researcher/vanishing dialects; dictionary editor/the "
        "words of the year; sign language interpreter/sign language; language app/vocabulary apps; "
        "translator of novels/literary translation",
        "teaches grammar with songs; adds new words; rescues an endangered language; shows how adults "
        "learn faster; corrects {n} common mistakes; starts a free course",
        "a summer of courses; a dispute about spelling; a study of bilingual families",
    ),
)
