"""What the checkable instructions are about.

A line is one topic, a colon, then words by which an answer shows that it is about it: whole words or
beginnings of words ("bak" stands for bake, baker, baking). The first is the topic's plainest whole word.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

TopicKind = Literal["explain", "scene", "advice"]
HELD_OUT_EVERY = 5  # one topic in five is kept for evaluation, whatever the seed


@dataclass(frozen=True, slots=True)
class Topic:
    """``text`` continues "Write about ..."; ``mentions`` are lower-case beginnings of words that show it."""

    text: str
    kind: TopicKind
    mentions: tuple[str, ...]
    held_out: bool


EXPLAIN = """
the history of bread: bread flour wheat oven bak yeast grain dough loa
how tides work: tide moon sea ocean water gravit shore high low
why the sky is blue: sky blue light scatter sun air color colour
the life of a honeybee: bee honey hive flower nectar queen pollen colony worker
how volcanoes erupt: volcano lava magma erupt ash mountain rock gas
the invention of the printing press: printing press book gutenberg paper type ink print
what makes a rainbow: rainbow rain light sun drop color colour sky
how glass is made: glass sand heat melt furnace silica cool hot
the water cycle: water rain cloud evaporat vapor ocean river condens
why leaves change color in autumn: leaves autumn color colour chlorophyll tree leaf fall green
the purpose of sleep: sleep rest dream brain body night tired
how a bicycle stays upright: bicycle wheel balance ride bike steer rider speed
the story of coffee: coffee bean cup drink roast cafe brew morning
how birds migrate: birds migrat fly wing south winter season bird flock
the planets of our solar system: planets sun earth mars jupiter orbit planet saturn venus
how magnets work: magnet pole iron field metal attract repel north
the uses of bamboo: bamboo build grow plant wood strong material fast
why we laugh: laugh funny joke humor humour smile happy brain social
how computers store data: data computer memory disk bit store file drive
the great wall of china: wall china stone dynast emperor guard built border
how bees make honey: honey bee nectar hive flower comb sugar
the importance of trees: trees tree oxygen shade air wood forest climate
how submarines dive: submarine water tank ballast dive sea sink deep
the origin of chess: chess game india king board piece play queen
how vaccines protect us: vaccine immun disease virus body protect doctor infect
what a budget is for: budget money spend save income plan cost
how the heart pumps blood: heart blood pump body vessel beat oxygen vein
the phases of the moon: moon phase full crescent new light sun earth month
how paper is recycled: paper recycl pulp fiber fibre waste bin water
the role of a mayor: mayor city town council vote leader people office
why the sea is salty: sea salt ocean river mineral rock water
how airplanes fly: airplane wing lift engine air fly plane flight
the making of chocolate: chocolate cocoa bean sugar cacao milk sweet
how spiders build webs: spider web silk thread spin insect catch prey
the discovery of penicillin: penicillin fleming mold mould antibiotic bacteria medicine drug
how earthquakes happen: earthquake plate fault ground shak crust rock
the meaning of friendship: friendship friend trust care share bond loyal
how a camera works: camera lens light photo image film picture sensor
the rise of the internet: internet web network computer online connect information
why exercise is healthy: exercise health heart muscle body fit strong run
how rivers shape the land: river water valley erosion erode land rock soil flow
the life cycle of a butterfly: butterfly caterpillar egg wing cocoon pupa larva chrysalis
how elections work: election vote candidate ballot people govern party
the beauty of mathematics: mathematics number math pattern proof equation beaut logic
how soap cleans: soap dirt water oil grease wash clean skin
the art of origami: origami paper fold japan crane art shape
why cats purr: cats purr cat happy calm sound content vibrat
how money is printed: money print bank paper note ink bill currency
the history of the olympic games: olympic games greece athlete sport medal athens ancient
how solar panels make power: solar sun panel energy electric light power cell
the life of a penguin: penguin ice antarctic egg swim fish cold bird
how music affects mood: music mood song happy sad feel emotion listen calm
the invention of the telephone: telephone bell call voice phone wire invent
how fossils form: fossil bone rock ancient buried sediment mineral dinosaur
what an atom is: atom proton electron nucleus neutron matter element particle
how a seed becomes a plant: seed plant root soil water grow sprout leaf sun
the role of bees in farming: bees pollinat crop farm flower fruit plant bee
how bridges hold weight: bridge weight beam arch load cable support steel force
the history of tea: tea leaf china cup drink leaves brew water
why we need vitamins: vitamin body health food fruit vegetable energy
how clocks measure time: clock time hour minute second hand pendulum
the silk road: silk road trade china merchant route spice goods
how whales communicate: whale song sound sea ocean call water
the desert at night: desert night sand cold star animal dark
how wind turbines work: wind turbine blade power energy electric generator
the value of honesty: honesty trust truth honest lie respect tell
how the eye sees: eye light retina lens brain see pupil vision
the world of ants: ants ant colony queen nest worker tunnel food
how cheese is made: cheese milk curd cow rennet age bacteria
the power of habits: habits habit routine daily change practice repeat
why ice floats: ice water float dense density lighter freez
how languages change: language word speak change people meaning speech
the history of money: money coin trade gold bank paper barter
how a thermometer works: thermometer temperature heat mercury hot cold degree
the life of a sea turtle: turtle sea egg beach shell ocean swim
why stars twinkle: stars star twinkle light air atmosphere night sky
how cities grow: cities city people build town job population street
the rules of soccer: soccer ball goal team player kick field score
how rain forms: rain cloud water drop vapor air sky condens
the invention of the wheel: wheel cart ancient invent transport roll move
how dogs help people: dogs dog help guide people police blind friend
the human skeleton: skeleton bone skull body spine joint rib
how batteries work: battery batteries charge electron energy chemical power
what democracy means: democracy vote people govern freedom citizen elect
how a library is organised: library book shelf shelves number read author catalog
the arctic fox: fox arctic snow white fur cold ice hunt
how wool becomes a sweater: wool sheep yarn knit sweater spin warm
the causes of the seasons: seasons season earth tilt sun summer winter axis
how engines use fuel: engine fuel burn piston gas car energy power
"""

SCENE = """
a first day at school: school teacher class child student friend bell desk
a walk in the forest: forest tree leaf leaves path bird wood green
an old lighthouse: lighthouse light sea ship keeper lamp wave tower
a busy market: market stall fruit sell vendor crowd buy fish
a rainy afternoon: rain window umbrella wet puddle cloud drop
a lost umbrella: umbrella rain lost found wet search
a birthday party: birthday cake candle friend gift party balloon
a train journey through the mountains: train mountain window track station snow valley
a cat that likes music: cat music song piano listen purr sing
a power cut in the city: power dark candle city light street electric
a garden in spring: garden flower spring seed bloom plant bee green
a night under the stars: stars night star sky camp dark fire moon
a grandmother's kitchen: kitchen grandmother cook soup smell oven bak recipe
a storm at sea: storm sea wave wind ship sailor boat
the last day of summer: summer beach sun last school warm autumn
a visit to the dentist: dentist teeth tooth chair mouth pain smile
a robot that learns to paint: robot paint brush color colour canvas art learn
a small bakery at dawn: bakery bread dawn oven bak dough morning smell
a secret treehouse: treehouse tree secret ladder child wood branch hid
a letter from a friend: letter friend write read mail envelope wrote
a snow day: snow school cold white sled winter play
a dog waiting at a station: dog station wait train owner platform tail
a crowded bus: bus seat driver passenger crowd stop people
a fishing trip with dad: fishing fish dad lake boat hook father
a museum after closing time: museum statue guard painting night dark quiet
a broken bicycle: bicycle wheel chain broken repair bike fix
a new neighbor: neighbor neighbour house door moved street friend
a concert in the park: concert park music band song crowd stage
a hike to a waterfall: waterfall hike water trail path rock climb
a quiet library: library book read quiet shelf shelves silen
a family picnic: picnic family food basket blanket park eat
an island without people: island sea beach bird tree alone sand
a chess game between rivals: chess game rival king move board queen
a dragon who is afraid of fire: dragon fire afraid fear flame wing scared
a clockmaker's workshop: clock workshop gear tick tool watch wheel
a day without phones: phone day talk call screen people quiet
a race between two snails: snail race slow shell win finish
a message in a bottle: bottle message sea beach letter wave paper
the first snowfall: snow white winter cold flake sky
an unusual pet: pet animal cage feed owner home
a morning on the farm: farm cow chicken rooster barn field farmer morning
a ghost who bakes cakes: ghost cake bak oven kitchen haunt
a city seen from a roof: city roof street light building car below
a river crossing: river bridge water cross boat bank current
a school play: play stage school actor line curtain audience
"""

ADVICE = """
how to make a cup of tea: tea water cup leaf leaves boil kettle bag
how to study for an exam: exam study note test read learn practice
how to fall asleep faster: sleep bed night relax dark calm
how to save money: money save spend budget bank cost buy
how to plant a tree: tree soil hole plant water root dig
how to write a thank-you note: thank note write gift kind letter word
how to calm a crying baby: baby cry calm hold rock gentl sooth
how to pack a suitcase: suitcase pack clothes fold roll trip bag
how to learn a new language: language word speak practice learn listen read
how to clean a window: window clean glass wipe cloth water
how to train a puppy: puppy dog train treat reward sit
how to start running: running run shoe slow pace mile walk
how to give a good speech: speech audience speak talk practice voice
how to cook rice: rice water pot boil cook cup steam
how to make a new friend: friend talk smile listen kind meet
how to keep plants alive: plant water sun soil light leaf leaves
how to wash a wool sweater: sweater wool wash water cold dry gentl
how to ask for help: help ask people question need friend
how to read a map: map north road scale compass direction symbol
how to choose a good book: book read author review genre library
how to prepare for a job interview: interview job question company answer practice
how to draw a face: face eye nose draw line pencil mouth
how to stop being late: late time early clock alarm plan leave
how to fix a flat tire: tire wheel flat pump patch jack air
how to take a good photo: photo light camera focus picture frame
how to eat more vegetables: vegetable eat salad meal soup food cook
how to organise a desk: desk paper drawer tidy clean clutter shelf
how to be a good listener: listen hear talk attention ear people speak
how to build a sandcastle: sandcastle sand water beach bucket tower
how to apologise: apologise apolog sorry mistake forgive mean hurt
how to deal with stress: stress breath relax calm rest walk
how to protect your eyes from screens: eyes screen eye blink light break
how to bake a simple cake: cake flour egg sugar oven bak butter
how to throw a surprise party: party surprise friend secret guest cake
how to remember names: names name remember repeat people face
how to use less water at home: water tap shower leak home save
how to care for a goldfish: goldfish fish tank water feed bowl
how to stay warm in winter: winter warm coat cold layer hat scarf
how to plan a road trip: trip road car map route drive plan
how to tell a good joke: joke laugh funny timing punch audience
how to meditate: meditate meditat breath sit calm mind quiet focus
how to sharpen a pencil: pencil sharpen blade point lead
"""


def _read(text: str, kind: TopicKind) -> list[Topic]:
    lines = [line.partition(":") for line in text.strip().splitlines()]
    return [
        Topic(name, kind, tuple(words.split()), held_out=i % HELD_OUT_EVERY == 0)
        for i, (name, _, words) in enumerate(lines)
    ]


TOPICS: tuple[Topic, ...] = (*_read(EXPLAIN, "explain"), *_read(SCENE, "scene"), *_read(ADVICE, "advice"))
